"""The trials of a continual sweep, made after a check of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.continual import split_tasks
from icss_core.errors import DatasetError
from services.continual.config import ProtocolRun
from services.data.image_labels import image_labels
from services.storage import Storage
from services.tune.addresses import read_datasets
from services.tune.continual.spec import ContinualVariant
from services.tune.continual.trial import ContinualTrial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from icss_core.continual import IncrementalProtocol
    from services.settings import Settings
    from services.tune.continual.spec import ContinualSweep


def plan_continual(
    spec: ContinualSweep, datasets: Mapping[str, str], settings: Settings
) -> list[ContinualTrial]:
    """All trials of a sweep.

    Those of the first variant come first: the first task, which most variants train alike, is then trained
    once for each seed, and no other trial waits for it.

    Raises:
        InvalidParameterError: a protocol's data set has no address, or lacks a class.
        DatasetError: a task has no scene to train on, or there is none to validate on.
    """
    storage = Storage(settings)
    by_name = read_datasets({asked.dataset for asked in spec.protocols}, datasets, storage)
    labels = {name: image_labels(dataset, storage) for name, dataset in by_name.items()}
    trials: list[ContinualTrial] = []
    for case in spec.cases():
        name, protocol = case.dataset, case.protocol
        dataset = by_name[name]
        if not any(scene.mask is not None for scene in dataset.scenes_of("val")):
            raise DatasetError(f"data set {dataset.name!r} has no val scene with a mask")
        groups = protocol.classes_of(dataset)
        protocol.score_of(dataset)  # refused here, before anything is trained
        for variant, values in spec.points():
            at_once = isinstance(variant, ContinualVariant) and variant.offline
            learnt = _at_once(protocol) if at_once else protocol
            manifest = split_tasks(dataset, learnt, labels[name])
            for seed in spec.seeds:
                run = ProtocolRun(
                    dataset=datasets[name],
                    # a name that only sweeps use: the versions of a user's model stay as they are
                    model=f"sweep-continual-{name}-{spec.network.encoder}",
                    protocol=learnt,
                    preset=spec.preset_of(variant, {**case.overrides, **values}),
                    **spec.network.model_dump(),
                    workers=spec.workers,
                    cpus_per_worker=spec.cpus_per_worker,
                    gpu=spec.gpu,
                    seed=seed,
                    validate_every=spec.validate_every,
                    checkpoint_every=spec.checkpoint_every,
                    pictures=spec.pictures if seed == spec.seeds[0] else 0,
                )
                trials.append(
                    ContinualTrial(
                        case=case.title,
                        variant=variant.title,
                        values=values,
                        seed=seed,
                        pictures=run.pictures,
                        run=run,
                        identity=run.identity(manifest),
                        groups=groups,
                    )
                )
    first = spec.variants[0].title
    # then all methods with the first seed before any with the second: the table can be read early
    return sorted(trials, key=lambda trial: (trial.variant != first, trial.seed))


def _at_once(protocol: IncrementalProtocol) -> IncrementalProtocol:
    """The same classes, in a single group."""
    members = tuple(member for group in protocol.groups for member in group)
    return protocol.model_copy(update={"name": f"{protocol.name}-offline"[:60], "groups": (members,)})
