"""`icss`: every image is a session of its own (ICSS, Lenczner et al.).

A copy of the memory network, clicks drawn from the image's ground truth, an update, and the score on the same
image, all of it. Nothing is carried over to the next image. The paper chooses among its rounds by the
score on the full ground truth, which no user has: here the last is the result, and the best of the last
half is reported beside it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from icss_core.clicks import simulate_clicks
from icss_core.errors import InvalidParameterError
from icss_core.inference.sinks import ArraySink
from icss_core.inference.sliding_window import predict
from icss_core.labels import BACKGROUND
from icss_core.metrics import ConfusionAccumulator, segmentation_report
from icss_core.raster.windows import Window
from icss_core.updating import Runtime, update

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from icss_core.continual.replay import Replay
    from icss_core.data.labelled_scene import LabelledScene
    from icss_core.labels import ClassInfo, LabelSpace
    from icss_core.methods import Preset
    from icss_core.networks.segmenter import Segmenter
    from icss_core.raster.source import RasterSource
    from icss_core.updating import UpdateProgress


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageScore(_Frozen):
    """A class map against the truth of one image."""

    iou: dict[str, float | None]
    """By class name, in [0, 1]; None where the truth lacks the class."""
    mean: float | None
    """Over the classes that the truth has, background included."""


class SessionScores(_Frozen):
    """Scores and facts of one session."""

    image: str
    seed: int
    clicks: dict[str, int]
    """Simulated clicks by class name."""
    pseudo_labels: dict[str, int]
    last: ImageScore
    """After the last iteration: the result."""
    rounds: dict[int, ImageScore]
    """After the rounds that were looked at, counted from 1; the last is the result itself."""
    best_of_last_half: ImageScore | None
    """The best of those in the last half and of the result, chosen by their score: an oracle's choice. None
    where no round was looked at."""
    agreement: float | None
    """Fraction of unclicked pixels that keep the memory network's class."""
    warnings: tuple[str, ...]
    iterations: int
    seconds: float
    """Of the update, looks excluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueImage:
    """An image whose classes are known everywhere."""

    name: str
    source: RasterSource
    truth: NDArray[np.uint8]
    """(H, W) indices of the extended label space, 255 = unknown."""

    @classmethod
    def of(cls, name: str, scene: LabelledScene) -> TrueImage:
        """A scene whose lookup gives indices of the extended label space; reads all of it, for its truth."""
        _, truth = scene.crop(Window(0, 0, scene.image.height, scene.image.width))
        return cls(name=name, source=scene.image, truth=truth)

    def shows(self, labels: Sequence[int]) -> bool:
        """Whether each of these classes has a pixel."""
        return all(bool((self.truth == label).any()) for label in labels)


def run_session(
    memory: Segmenter,
    label_space: LabelSpace,
    image: TrueImage,
    new_classes: Sequence[ClassInfo],
    preset: Preset,
    *,
    annotations: int,
    replay: Replay | None = None,
    seed: int = 0,
    look_every: int | None = None,
    device: torch.device | None = None,
    on_progress: Callable[[UpdateProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[SessionScores, NDArray[np.uint8]]:
    """One session.

    Args:
        memory: the network before the update; not changed.
        label_space: its classes.
        image: the truth's indices are those of the label space extended by `new_classes`.
        new_classes: what is added; the truth must show each of them.
        preset: method and numbers.
        annotations: clicks of the background and of each new class, drawn uniformly from the truth; fewer
            where a class has fewer pixels.
        replay: see `update`.
        seed: of clicks and training.
        look_every: score every so many rounds of the last half, counted back from the result, which
            is scored in any case; None: the result alone. A look predicts the whole image as the result is
            predicted: by our default tiling, for the paper's presets too.
        device: see `update`.
        on_progress: see `update`.
        should_stop: see `update`.

    Returns:
        Scores, and the class map of the updated network (H, W) uint8, 255 = no data.

    Raises:
        ClickError: the truth does not show a new class.
        InvalidParameterError: `annotations` or `look_every` is below 1.
        IcssError: see `update`.
    """
    if annotations < 1 or (look_every is not None and look_every < 1):
        raise InvalidParameterError(
            f"annotations and look_every are at least 1, not {annotations} and {look_every}"
        )
    names = [*label_space.names, *(info.name for info in new_classes)]
    new = list(range(len(label_space), len(names)))
    clicks = simulate_clicks(image.truth, classes=[BACKGROUND, *new], per_class=annotations, seed=seed)
    looks: dict[int, ImageScore] = {}
    looking = 0.0

    def look(number: int, network: Segmenter) -> None:
        nonlocal looking
        left = preset.rounds - number
        if look_every is None or 2 * number <= preset.rounds or left % look_every:
            return
        started = time.perf_counter()
        looks[number] = score_map(map_image(network, image.source), image.truth, names)
        looking += time.perf_counter() - started

    result = update(
        memory,
        label_space,
        image.source,
        clicks,
        new_classes,
        preset,
        replay=replay,
        seed=seed,
        runtime=Runtime(
            device=device,
            on_progress=on_progress,
            on_round=None if look_every is None else look,
            should_stop=should_stop,
        ),
    )
    labels = map_image(result.network, image.source)
    last = score_map(labels, image.truth, names)
    best = max([*looks.values(), last], key=lambda score: score.mean or 0.0) if looks else None
    scores = SessionScores(
        image=image.name,
        seed=seed,
        clicks={names[label]: count for label, count in clicks.counts().items()},
        pseudo_labels=result.findings.pseudo_labels,
        last=last,
        rounds=looks,
        best_of_last_half=best,
        agreement=result.forgetting.agreement,
        warnings=tuple(result.warnings),
        iterations=len(result.history),
        seconds=round(result.seconds - looking, 2),
    )
    return scores, labels


def map_image(
    network: Segmenter, source: RasterSource, *, scales: Sequence[float] | None = None
) -> NDArray[np.uint8]:
    """Class map (H, W) uint8 of a whole image by our default tiling, 255 where it has no data.

    Args:
        network: the segmenter.
        source: the image.
        scales: at which it is predicted; see `predict`.
    """
    sink = ArraySink(source.height, source.width)
    predict(network, source, sink, n_classes=network.n_classes, scales=scales)
    return sink.labels


def score_map(labels: NDArray[np.uint8], truth: NDArray[np.uint8], names: Sequence[str]) -> ImageScore:
    """Image-wise IoU of a class map.

    Args:
        labels: (H, W) uint8; a network that knows fewer classes simply never gives the others.
        truth: (H, W) uint8, 255 = unknown.
        names: class names by index.
    """
    confusion = ConfusionAccumulator(len(names))
    confusion.update(labels, truth, image="image")
    report = segmentation_report(confusion, class_names=names)
    return ImageScore(iou=report.iou_of_images["image"], mean=report.mean_iou_of_images["image"])
