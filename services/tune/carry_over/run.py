"""Doing a trial of a carry-over sweep: one update, then one validation image after another is scored.

Each image's score is written to the trial's MLflow run as it comes. A trial that starts again makes its
update again, which gives the same network on the same machine, and goes on with the images that are left.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from icss_core.compute.device import default_device
from icss_core.continual.replay import Replay
from icss_core.errors import DatasetError
from icss_core.evaluation import CarriedScore, score_image, update_from_truth
from icss_core.networks.model_folder import load_model
from services.data.dataset import read_dataset
from services.pictures import map_png
from services.registry import Registry
from services.storage import Storage
from services.training.callback import LEGEND, legend
from services.tune.carry_over.case import district_of
from services.tune.carry_over.means import means_of_scores
from services.tune.interactive.means import by_index
from services.tune.true_scene import opened_scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from icss_core.dataset import Dataset, Scene
    from icss_core.evaluation.carry_over import Relation
    from icss_core.networks.segmenter import Segmenter
    from services.ownership import Work
    from services.settings import Settings
    from services.tune.carry_over.trial import CarryOverTrial
    from services.tune.records import SweepRecords
    from services.tune.sweep_kind import OnResult


def run_carry_over_trial(
    trial: CarryOverTrial,
    work: Work,
    records: SweepRecords,
    *,
    settings: Settings,
    device: torch.device | None = None,
    on_result: OnResult | None = None,
) -> list[CarriedScore]:
    """Do what is left of a trial and return the scores of all its images.

    Args:
        trial: what to do.
        work: on its MLflow run.
        records: where scores go, and where those of an earlier attempt are.
        settings: of the services.
        device: by default a GPU if there is one.
        on_result: told after each image how many are done and the means so far; may end the trial by raising.

    Raises:
        DatasetError: fewer scenes show the new class than are to be clicked.
        LostOwnershipError: another process has taken the trial over.
        IcssError: the data set, a network or a server is not usable.
    """
    storage, device = Storage(settings), device or default_device()
    dataset = read_dataset(trial.dataset, storage)
    scenes = [scene for scene in dataset.scenes_of("val") if scene.mask is not None]
    results = records.read(work.run_id, CarriedScore)
    names = {result.image for result in results}
    classes = dataset.select(trial.classes).names
    records.tracking.write_text(work.run_id, LEGEND, legend(classes))
    if all(scene.name in names for scene in scenes):
        return results
    folder = Registry(settings).fetch(*trial.network)
    network = load_model(folder)[0].to(device)
    with storage.raster_environment():
        choice = _Choice.of(trial, dataset, scenes, storage)
        seconds, warned = 0.0, frozenset[str]()
        if trial.preset is not None:
            replay = Replay.of_version(folder, network)
            network, seconds, warned = _updated(network, replay, trial, dataset, choice, storage, device)
        work.check()
        for scene in scenes:
            if scene.name in names:
                continue
            with opened_scene(dataset, scene, trial.classes, storage) as image:
                score, mapped, labels = score_image(network, image, classes)
            results.append(
                CarriedScore(
                    image=scene.name,
                    district=district_of(scene.name, trial.district),
                    relation=choice.relation(scene.name),
                    in_context=scene.name in choice.context,
                    score=score,
                    mapped=mapped,
                    seconds=seconds,
                    warned=scene.name in warned,
                )
            )
            if len(results) <= trial.pictures:
                records.tracking.write_bytes(work.run_id, f"maps/{scene.name}.png", map_png(labels))
            records.write(work, results)
            means = means_of_scores(results)
            records.tracking.log_metrics(work.run_id, [(len(results), time.time(), by_index(means, classes))])
            if on_result is not None:
                on_result(len(results), means)
    return results


class _Choice:
    """Which scenes are clicked, and which take part without clicks."""

    def __init__(
        self, clicked: Sequence[str], context: Sequence[str], districts: dict[str, str], where: str
    ) -> None:
        self.clicked, self.context = clicked, context
        self._districts, self._where = districts, where

    @classmethod
    def of(
        cls, trial: CarryOverTrial, dataset: Dataset, scenes: Sequence[Scene], storage: Storage
    ) -> _Choice:
        """Drawn by the trial's seed alone: all methods are given the same images.

        Raises:
            DatasetError: too few scenes show the new class.
        """
        districts = {scene.name: district_of(scene.name, trial.district) for scene in scenes}
        rng = np.random.default_rng([trial.seed, len(scenes)])
        order = [scenes[int(i)] for i in rng.permutation(len(scenes))]
        clicked: list[str] = []
        for scene in order:
            if len(clicked) == trial.clicked_images:
                break
            if districts[scene.name] == trial.clicked and scene.may_show(trial.new):
                with opened_scene(dataset, scene, trial.classes, storage) as image:
                    if image.shows([0, len(trial.classes)]):
                        clicked.append(scene.name)
        if len(clicked) < trial.clicked_images:
            raise DatasetError(
                f"only {len(clicked)} validation scenes of {trial.clicked!r} in {trial.dataset} show "
                f"{trial.new!r} and a background, not {trial.clicked_images}"
            )
        unclicked = [scene.name for scene in order if scene.name not in clicked]
        return cls(clicked, unclicked[: trial.context_images], districts, trial.clicked)

    def relation(self, name: str) -> Relation:
        """Of a scene to the clicked ones."""
        if name in self.clicked:
            return "clicked"
        return "same district" if self._districts[name] == self._where else "other district"


def _updated(
    memory: Segmenter,
    replay: Replay | None,
    trial: CarryOverTrial,
    dataset: Dataset,
    choice: _Choice,
    storage: Storage,
    device: torch.device,
) -> tuple[Segmenter, float, frozenset[str]]:
    """The updated network, the seconds it took, and the context images it warns about."""
    assert trial.preset is not None  # noqa: S101 - asked before
    by_name = {scene.name: scene for scene in dataset.scenes_of("val")}
    extended = dataset.select(trial.classes)
    with ExitStack() as closing:
        clicked, context = (
            [
                closing.enter_context(opened_scene(dataset, by_name[name], trial.classes, storage))
                for name in names
            ]
            for names in (choice.clicked, choice.context)
        )
        result = update_from_truth(
            memory,
            dataset.select(trial.old),
            clicked,
            context,
            [extended.classes[-1]],
            trial.preset,
            annotations=trial.annotations,
            replay=replay,
            seed=trial.seed,
            device=device,
        )
    harmed = frozenset() if result.elsewhere is None else frozenset(result.elsewhere.harmed)
    return result.network, result.seconds, harmed
