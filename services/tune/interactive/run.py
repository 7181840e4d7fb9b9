"""Doing a trial of an interactive sweep: a method and its numbers on one validation image after another.

Each image's result is written to the trial's MLflow run as it comes. A trial that starts again, on this
machine or another, goes on with the image after the last one written.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from icss_core.compute.device import default_device
from icss_core.continual.replay import Replay
from icss_core.errors import DatasetError
from icss_core.evaluation import SessionScores, map_image, run_session, score_map
from icss_core.networks.model_folder import load_model
from services.data.dataset import read_dataset
from services.pictures import map_png
from services.registry import Registry
from services.storage import Storage
from services.training.callback import LEGEND, legend
from services.tune.interactive.means import by_index, means_of
from services.tune.true_scene import opened_scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from icss_core.dataset import Dataset
    from icss_core.evaluation import TrueImage
    from icss_core.labels import LabelSpace
    from icss_core.networks.segmenter import Segmenter
    from services.ownership import Work
    from services.settings import Settings
    from services.tune.interactive.trial import InteractiveTrial
    from services.tune.records import SweepRecords
    from services.tune.sweep_kind import OnResult


def run_interactive_trial(
    trial: InteractiveTrial,
    work: Work,
    records: SweepRecords,
    *,
    settings: Settings,
    device: torch.device | None = None,
    on_result: OnResult | None = None,
) -> list[SessionScores]:
    """Do what is left of a trial and return the results of all its images.

    Args:
        trial: what to do.
        work: on its MLflow run.
        records: where results go, and where those of an earlier attempt are.
        settings: of the services.
        device: by default a GPU if there is one.
        on_result: told after each image how many are done and the means so far; may end the trial by raising.

    Raises:
        DatasetError: no validation image shows the new class.
        LostOwnershipError: another process has taken the trial over.
        IcssError: the data set, a network or a server is not usable.
    """
    storage, device = Storage(settings), device or default_device()
    dataset = read_dataset(trial.dataset, storage)
    results = records.read(work.run_id, SessionScores)
    names = {result.image for result in results}
    folder = _model_folder(Registry(settings), trial)
    network = load_model(folder)[0].to(device)
    replay = Replay.of_version(folder, network)
    label_space = dataset.select(trial.old)
    classes = dataset.select(trial.classes).names
    records.tracking.write_text(work.run_id, LEGEND, legend(classes))
    if on_result is not None and results:
        on_result(len(results), means_of(results))
    with storage.raster_environment():
        for position, image in enumerate(_images(dataset, trial, storage)):
            if image.name in names:
                continue
            result, labels = _one_image(trial, network, replay, label_space, dataset, image, device)
            results.append(result)
            work.check()
            if position < trial.pictures:
                records.tracking.write_bytes(work.run_id, f"maps/{image.name}.png", map_png(labels))
            records.write(work, results)
            means = means_of(results)
            metrics = by_index(means, classes)
            metrics["image_mean_iou"] = result.last.mean or 0.0
            records.tracking.log_metrics(work.run_id, [(len(results), time.time(), metrics)])
            if on_result is not None:
                on_result(len(results), means)
    if not results:
        raise DatasetError(f"no validation image of {trial.dataset} shows {trial.new!r} and a background")
    return results


def _model_folder(registry: Registry, trial: InteractiveTrial) -> Path:
    name, version = trial.memory if trial.what != "control" or trial.control is None else trial.control
    return registry.fetch(name, version)


def _images(dataset: Dataset, trial: InteractiveTrial, storage: Storage) -> Iterator[TrueImage]:
    """Validation images that show the new class and a background, one open at a time."""
    yielded = 0
    for scene in dataset.scenes_of("val"):
        if scene.mask is None or (trial.images is not None and yielded == trial.images):
            continue
        with opened_scene(dataset, scene, trial.classes, storage) as true:
            if true.shows([0, len(trial.classes)]):
                yielded += 1
                yield true


def _one_image(
    trial: InteractiveTrial,
    network: Segmenter,
    replay: Replay | None,
    label_space: LabelSpace,
    dataset: Dataset,
    image: TrueImage,
    device: torch.device,
) -> tuple[SessionScores, NDArray[np.uint8]]:
    extended = dataset.select(trial.classes)
    if trial.preset is not None:
        return run_session(
            network,
            label_space,
            image,
            [extended.classes[-1]],
            trial.preset,
            annotations=trial.annotations,
            replay=replay,
            seed=trial.seed,
            look_every=trial.look_every,
            device=device,
        )
    labels = map_image(network, image.source)
    result = SessionScores(
        image=image.name,
        seed=trial.seed,
        clicks={},
        pseudo_labels={},
        last=score_map(labels, image.truth, extended.names),
        rounds={},
        best_of_last_half=None,
        agreement=None,
        warnings=(),
        iterations=0,
        seconds=0.0,
    )
    return result, labels
