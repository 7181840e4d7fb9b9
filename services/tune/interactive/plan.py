"""The trials of an interactive sweep, made after a check of the data and the training of its networks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from icss_core.errors import DatasetError
from services.storage import Storage
from services.tune.addresses import read_datasets
from services.tune.interactive.networks import control_config, memory_config, network_of
from services.tune.interactive.trial import InteractiveTrial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from icss_core.dataset import Dataset
    from services.settings import Settings
    from services.tune.interactive.pair import Pair
    from services.tune.interactive.spec import InteractiveSweep


def plan_interactive(
    spec: InteractiveSweep, datasets: Mapping[str, str], settings: Settings
) -> list[InteractiveTrial]:
    """All trials of a sweep, each once, by seed; trains the networks that are not there yet.

    Raises:
        InvalidParameterError: a pair's data set has no address.
        DatasetError: a data set lacks a class, or scenes to train on or to validate on.
        IcssError: see `pretrain`.
    """
    by_name = read_datasets({pair.dataset for pair in spec.pairs}, datasets, Storage(settings))
    for pair in spec.pairs:  # before hours of training
        _check(pair, by_name[pair.dataset])
    trials: list[InteractiveTrial] = []
    for pair in spec.pairs:
        address = datasets[pair.dataset]
        trial = partial(
            InteractiveTrial,
            case=pair.title,
            dataset=address,
            manifest_hash=by_name[pair.dataset].manifest_hash,
            old=pair.old,
            new=pair.new,
            memory=network_of(memory_config(pair, address, spec.network_numbers), settings),
            images=spec.images,
        )
        trials.append(trial(what="memory", variant="memory", pictures=spec.pictures))
        if spec.control:
            control = network_of(control_config(pair, address, spec.network_numbers), settings)
            trials.append(trial(what="control", variant="control", control=control, pictures=spec.pictures))
        for variant, values in spec.points():
            preset = spec.preset_of(variant, values)
            trials += [
                trial(
                    what="session",
                    variant=variant.title,
                    preset=preset,
                    values=values,
                    annotations=annotations,
                    seed=seed,
                    look_every=spec.look_every,
                    pictures=spec.pictures if seed == spec.seeds[0] else 0,
                )
                for annotations in spec.annotations
                for seed in spec.seeds
            ]
    # a pair may be named twice, and a random draw may come twice
    once = {trial.model_dump_json(): trial for trial in trials}.values()
    # all methods with the first seed come before any with the second: the table can be read early
    return sorted(once, key=lambda trial: trial.seed)


def _check(pair: Pair, dataset: Dataset) -> None:
    dataset.select((*pair.old, pair.new))
    for split in ("train", "val"):
        scenes = [scene for scene in dataset.scenes_of(split) if scene.mask is not None]
        if not scenes:
            raise DatasetError(f"data set {dataset.name!r} has no {split} scene with a mask")
        # a scene's list of classes spares reading its mask; a scene without one may show any class
        if not any(scene.may_show(pair.new) for scene in scenes):
            raise DatasetError(f"no {split} scene of data set {dataset.name!r} shows {pair.new!r}")
