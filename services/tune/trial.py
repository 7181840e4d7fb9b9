"""One trial of a sweep: a method and its numbers on every validation image, image after image.

Each image's result is written to the trial's MLflow run as it comes. A trial that starts again, on this
machine or another, goes on with the image after the last one written.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict

from icss_core.errors import DatasetError
from icss_core.methods import Preset
from icss_core.networks.model_folder import load_model
from icss_core.protocols import SessionScores, TrueImage, map_image, run_session, score_map
from icss_core.raster.reader import open_raster
from icss_core.sampling import LabelledScene
from services.registry import Registry
from services.settings import load_settings
from services.storage import Storage
from services.tracking import SWEEPS, Tracking
from services.training.plan import read_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from numpy.typing import NDArray

    from icss_core.dataset import Dataset
    from icss_core.networks.segmenter import Segmenter
    from services.settings import Settings

RESULTS: Final = "sessions.json"
"""Artefact of a trial's run: a list of SessionScores."""

What = Literal["session", "memory", "control"]


class Trial(BaseModel):
    """Everything that decides a trial's numbers, and a few things that do not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: What = "session"
    """A session per image, or a network as it is."""
    pair: str
    """Title of the pair of classes."""
    variant: str
    """Title of the variant."""
    dataset: str
    """Address of its dataset.yaml."""
    manifest_hash: str
    old: tuple[str, ...]
    new: str
    memory: tuple[str, int]
    """Registered name and version."""
    control: tuple[str, int] | None = None
    preset: Preset | None = None
    values: dict[str, Any] = {}
    """The varied numbers, by path; the preset has them already."""
    annotations: int = 0
    seed: int = 0
    images: int | None = None
    look_every: int | None = None
    pictures: int = 0
    """Images whose class maps are kept."""

    @property
    def trial_id(self) -> str:
        """The same for equal trials: what is asked of equal data and networks."""
        asked = self.model_dump(mode="json", exclude={"dataset", "pictures", "variant", "pair", "preset"})
        if self.preset is not None:
            asked["preset"] = self.preset.model_dump(mode="json", exclude={"summary", "warning"})
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def title(self) -> str:
        """For people."""
        varied = ", ".join(f"{path.rpartition('.')[2]} {value:.4g}" for path, value in self.values.items())
        parts = [self.pair, self.variant, varied]
        if self.what == "session":
            parts += [f"{self.annotations} clicks", f"seed {self.seed}"]
        return "; ".join(part for part in parts if part)


def run_trial(
    trial: Trial,
    run_id: str,
    *,
    settings: Settings | None = None,
    device: torch.device | None = None,
    on_image: Callable[[int, dict[str, float]], None] | None = None,
) -> list[SessionScores]:
    """Do what is left of a trial and return the results of all its images.

    Args:
        trial: what to do.
        run_id: its MLflow run.
        settings: by default those of the environment.
        device: by default a GPU if there is one.
        on_image: told after each image how many are done and the means so far; may end the trial by raising.

    Raises:
        DatasetError: no validation image shows the new class.
        IcssError: the data set, a network or a server is not usable.
    """
    settings = settings or load_settings()
    storage, tracking = Storage(settings), Tracking(settings)
    dataset = read_dataset(trial.dataset, storage)
    known = tracking.get(run_id)
    images_done = 0 if known is None else int(known.tags.get("icss.images", "0"))
    results = read_results(tracking, run_id) if images_done else []
    names = {result.image for result in results}
    network, label_space = load_model(_fetched(Registry(settings), trial))[0], dataset.select(trial.old)
    if on_image is not None and results:
        on_image(len(results), means_of(results))
    with storage.raster_environment():
        for position, image in enumerate(_images(dataset, trial, storage)):
            if image.name in names:
                continue
            result, labels = _one_image(trial, network, label_space, dataset, image, device)
            results.append(result)
            if position < trial.pictures:
                tracking.write_bytes(run_id, f"maps/{image.name}.png", _png(labels))
            tracking.write_json(run_id, RESULTS, [one.model_dump(mode="json") for one in results])
            means = means_of(results)
            tracking.log_metrics(run_id, [(len(results), time.time(), {**_of_image(result), **means})])
            tracking.set_tags(run_id, {"icss.images": str(len(results))})
            if on_image is not None:
                on_image(len(results), means)
    if not results:
        raise DatasetError(f"no validation image of {trial.dataset} shows {trial.new!r} and a background")
    return results


def read_results(tracking: Tracking, run_id: str) -> list[SessionScores]:
    """What a trial has written so far; it must have done an image."""
    return [SessionScores.model_validate(one) for one in tracking.read_json(run_id, RESULTS)]


def means_of(results: list[SessionScores]) -> dict[str, float]:
    """Image-wise means: of the IoU of each class over the images that show it, and of the mean IoU."""
    means: dict[str, float] = {}
    for name in results[0].last.iou:
        values = [score for one in results if (score := one.last.iou[name]) is not None]
        if values:
            means[f"iou/{name}"] = float(np.mean(values))
    means["mean_iou"] = float(np.mean([one.last.mean or 0.0 for one in results]))
    best = [one.best_of_last_half.mean or 0.0 for one in results if one.best_of_last_half is not None]
    if best:
        means["best_mean_iou"] = float(np.mean(best))
    means["seconds"] = float(np.mean([one.seconds for one in results]))
    return means


def create_trial_run(tracking: Tracking, trial: Trial, *, parent: str, revision: str) -> str:
    """The MLflow run of a trial: the one it has, or a new one below the sweep's.

    A run is found whatever revision of the code began it: the table names the revisions it mixes.
    """
    for record in reversed(tracking.find(SWEEPS, tags={"icss.trial": trial.trial_id})):
        return record.run_id
    tags = {
        "mlflow.parentRunId": parent,
        "icss.kind": "trial",
        "icss.trial": trial.trial_id,
        "icss.variant": trial.variant,
        "icss.pair": trial.pair,
        "icss.revision": revision,
    }
    run_id = tracking.create_run(SWEEPS, name=trial.title, tags=tags)
    tracking.log_parameters(run_id, trial.model_dump(mode="json"), file="trial.json")
    return run_id


def _fetched(registry: Registry, trial: Trial) -> Any:
    name, version = trial.memory if trial.what != "control" or trial.control is None else trial.control
    return registry.fetch(name, version)


def _images(dataset: Dataset, trial: Trial, storage: Storage) -> Iterator[TrueImage]:
    """Validation images that show the new class and a background, one open at a time."""
    names = (*trial.old, trial.new)
    lookup = dataset.lookup(names)
    found = 0
    for scene in dataset.scenes_of("val"):
        if scene.mask is None or (trial.images is not None and found == trial.images):
            continue
        with ExitStack() as closing:
            image, mask = (
                closing.enter_context(open_raster(storage.check_allowed(dataset.address(address))))
                for address in (scene.image, scene.mask)
            )
            true = TrueImage.of(scene.name, LabelledScene(image=image, mask=mask, lookup=lookup))
            if true.shows([0, len(names)]):
                found += 1
                yield true


def _one_image(
    trial: Trial,
    network: Segmenter,
    label_space: Any,
    dataset: Dataset,
    image: TrueImage,
    device: torch.device | None,
) -> tuple[SessionScores, NDArray[np.uint8]]:
    extended = dataset.select((*trial.old, trial.new))
    if trial.preset is not None:
        return run_session(
            network,
            label_space,
            image,
            [extended.classes[-1]],
            trial.preset,
            annotations=trial.annotations,
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
        steps={},
        best_of_last_half=None,
        agreement=None,
        warnings=(),
        iterations=0,
        seconds=0.0,
    )
    return result, labels


def _of_image(result: SessionScores) -> dict[str, float]:
    return {} if result.last.mean is None else {"image_mean_iou": result.last.mean}


def _png(labels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
