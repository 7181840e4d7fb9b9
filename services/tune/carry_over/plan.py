"""The trials of a carry-over sweep, made after a check of the data and the training of its networks."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

from icss_core.errors import DatasetError
from services.storage import Storage
from services.tune.addresses import read_datasets
from services.tune.carry_over.case import district_of
from services.tune.carry_over.trial import CarryOverTrial
from services.tune.interactive.networks import control_config, memory_config, network_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from icss_core.dataset import Dataset
    from services.settings import Settings
    from services.tune.carry_over.case import CarryOverCase
    from services.tune.carry_over.spec import CarryOverSweep


def plan_carry_over(
    spec: CarryOverSweep, datasets: Mapping[str, str], settings: Settings
) -> list[CarryOverTrial]:
    """All trials of a sweep, each once, by seed; trains the networks that are not there yet.

    Raises:
        InvalidParameterError: a case's data set has no address.
        DatasetError: a data set lacks a class, or scenes to train on, to click on or to carry over to.
        IcssError: see `pretrain`.
    """
    by_name = read_datasets({case.dataset for case in spec.cases}, datasets, Storage(settings))
    for case in spec.cases:  # before hours of training
        _check(case, by_name[case.dataset], most=max(spec.clicked_images))
    trials: list[CarryOverTrial] = []
    for case in spec.cases:
        address = datasets[case.dataset]
        trial = partial(
            CarryOverTrial,
            case=case.title,
            dataset=address,
            manifest_hash=by_name[case.dataset].manifest_hash,
            old=case.old,
            new=case.new,
            district=case.district,
            clicked=case.clicked,
            pictures=spec.pictures,
        )
        memory = network_of(memory_config(case, address, spec.network_numbers), settings)
        control = network_of(control_config(case, address, spec.network_numbers), settings)
        trials.append(trial(what="memory", variant="memory", network=memory))
        trials.append(trial(what="control", variant="control", network=control))
        axes = (spec.clicked_images, spec.context_images, spec.annotations, spec.seeds)
        for (variant, values), numbers in itertools.product(spec.points(), itertools.product(*axes)):
            clicked_images, context_images, annotations, seed = numbers
            trials.append(
                trial(
                    network=memory,
                    variant=variant.title,
                    preset=spec.preset_of(variant, values),
                    values=values,
                    clicked_images=clicked_images,
                    context_images=context_images,
                    annotations=annotations,
                    seed=seed,
                    pictures=spec.pictures if seed == spec.seeds[0] else 0,
                )
            )
    # a case may be named twice, and a random draw may come twice
    once = {trial.model_dump_json(): trial for trial in trials}.values()
    # all methods with the first seed come before any with the second: the table can be read early
    return sorted(once, key=lambda trial: trial.seed)


def _check(case: CarryOverCase, dataset: Dataset, *, most: int) -> None:
    dataset.select((*case.old, case.new))
    scenes = {
        split: [scene for scene in dataset.scenes_of(split) if scene.mask is not None]
        for split in ("train", "val")
    }
    if not scenes["train"]:
        raise DatasetError(f"data set {dataset.name!r} has no train scene with a mask")
    inside = [one for one in scenes["val"] if district_of(one.name, case.district) == case.clicked]
    shown = [one for one in inside if one.may_show(case.new)]
    if len(shown) < most or len(scenes["val"]) <= most:
        raise DatasetError(
            f"data set {dataset.name!r} has {len(shown)} val scenes of {case.clicked!r} that may show "
            f"{case.new!r}, of {len(scenes['val'])} in all: too few for {most} clicked ones and one besides"
        )
