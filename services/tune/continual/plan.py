"""Which trials a sweep of protocols has; the data are checked before any of them runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.continual import split_tasks
from icss_core.errors import DatasetError
from services.continual.config import ProtocolRun
from services.data.image_labels import image_labels
from services.storage import Storage
from services.tune.addresses import read_datasets
from services.tune.continual.spec import ProtocolVariant
from services.tune.continual.trial import ProtocolTrial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from icss_core.continual import IncrementalProtocol
    from services.settings import Settings
    from services.tune.continual.spec import ProtocolSweep


def plan_protocols(
    spec: ProtocolSweep, datasets: Mapping[str, str], settings: Settings
) -> list[ProtocolTrial]:
    """All trials of a sweep.

    Those of the first variant come first: the first step that other variants share is then done once for
    each seed, and nobody waits for it.

    Raises:
        InvalidParameterError: a task's data set has no address, or lacks a class.
        DatasetError: a step has no scene to train on, or there is none to validate on.
    """
    storage = Storage(settings)
    found = read_datasets({task.dataset for task in spec.tasks}, datasets, storage)
    labels = {name: image_labels(dataset, storage) for name, dataset in found.items()}
    trials: list[ProtocolTrial] = []
    for title, task, protocol in spec.questions():
        name = task.dataset
        dataset = found[name]
        if not any(scene.mask is not None for scene in dataset.scenes_of("val")):
            raise DatasetError(f"data set {dataset.name!r} has no val scene with a mask")
        groups = protocol.classes_of(dataset)
        for variant, values in spec.points():
            at_once = isinstance(variant, ProtocolVariant) and variant.offline
            learnt = _at_once(protocol) if at_once else protocol
            manifest = split_tasks(dataset, learnt, labels[name])
            for seed in spec.seeds:
                run = ProtocolRun(
                    dataset=datasets[name],
                    # names of their own: the versions of a user's model stay as they are
                    model=f"sweep-steps-{name}-{spec.network.encoder}",
                    protocol=learnt,
                    preset=spec.preset_of(variant, {**task.overrides, **values}),
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
                    ProtocolTrial(
                        task=title,
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
    # after those, all methods with the first seed before any with the second: a table is of use early
    return sorted(trials, key=lambda trial: (trial.variant != first, trial.seed))


def _at_once(protocol: IncrementalProtocol) -> IncrementalProtocol:
    """The same classes in one group."""
    members = tuple(member for group in protocol.groups for member in group)
    return protocol.model_copy(update={"name": f"{protocol.name}-offline"[:60], "groups": (members,)})
