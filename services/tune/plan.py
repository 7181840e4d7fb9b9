"""Which trials a sweep has; the data are checked, and networks trained, before any of them runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.errors import DatasetError, InvalidParameterError
from services.storage import Storage
from services.training.plan import read_dataset
from services.tune.networks import control_config, memory_config, network_of
from services.tune.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from icss_core.dataset import Dataset
    from services.settings import Settings
    from services.tune.spec import Pair, SweepSpec


def plan_trials(spec: SweepSpec, datasets: Mapping[str, str], settings: Settings) -> list[Trial]:
    """All trials of a sweep, each once, the networks as they are first; pretrains what is not there yet.

    Raises:
        InvalidParameterError: a pair's data set has no address.
        DatasetError: a data set lacks a class, or scenes to train on or to validate on.
        IcssError: see `pretrain`.
    """
    missing = sorted({pair.dataset for pair in spec.pairs} - datasets.keys())
    if missing:
        raise InvalidParameterError(
            f"no address for the data sets {missing}; name them as NAME=s3://.../dataset.yaml"
        )
    storage = Storage(settings)
    found = {name: read_dataset(datasets[name], storage) for name in {pair.dataset for pair in spec.pairs}}
    for pair in spec.pairs:  # an error now, not after the training
        _check(pair, found[pair.dataset])
    trials: list[Trial] = []
    for pair in spec.pairs:
        address = datasets[pair.dataset]
        memory = Trial(
            what="memory",
            pair=pair.title,
            variant="memory",
            dataset=address,
            manifest_hash=found[pair.dataset].manifest_hash,
            old=pair.old,
            new=pair.new,
            memory=network_of(memory_config(pair, address, spec.pretraining), settings),
            images=spec.images,
            pictures=spec.pictures,
        )
        trials.append(memory)
        if spec.control:
            control = network_of(control_config(pair, address, spec.pretraining), settings)
            changes = {"what": "control", "variant": "control", "control": control}
            trials.append(memory.model_copy(update=changes))
        trials += _sessions(spec, memory)
    return list({trial.model_dump_json(): trial for trial in trials}.values())


def _sessions(spec: SweepSpec, memory: Trial) -> list[Trial]:
    return [
        memory.model_copy(
            update={
                "what": "session",
                "variant": variant.title,
                "preset": spec.preset_of(variant, values),
                "values": values,
                "annotations": annotations,
                "seed": seed,
                "look_every": spec.look_every,
                "pictures": spec.pictures if seed == spec.seeds[0] else 0,
            }
        )
        for variant, values in spec.points()
        for annotations in spec.annotations
        for seed in spec.seeds
    ]


def _check(pair: Pair, dataset: Dataset) -> None:
    dataset.select((*pair.old, pair.new))
    for split in ("train", "val"):
        scenes = [scene for scene in dataset.scenes_of(split) if scene.mask is not None]
        if not scenes:
            raise DatasetError(f"data set {dataset.name!r} has no {split} scene with a mask")
        # image-level labels may be missing; where they are there, they spare the reading of all masks
        if all(scene.labels is not None and pair.new not in scene.labels for scene in scenes):
            raise DatasetError(f"no {split} scene of data set {dataset.name!r} shows {pair.new!r}")
