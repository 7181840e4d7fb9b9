"""Does what was taught on some images hold on others? An update from clicks, scored where nobody clicked.

Unlike a session (`interactive`), which scores the clicked image, the network is carried over to images of the
same district and of other districts, as a user does who clicks on a few scenes and maps a region.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from icss_core.clicks import simulate_clicks
from icss_core.errors import InvalidParameterError
from icss_core.evaluation.interactive import ImageScore, map_image, score_map
from icss_core.labels import BACKGROUND, IGNORE
from icss_core.updating import ClickedImage, Runtime, UpdateResult, update_from_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from icss_core.continual.replay import Replay
    from icss_core.evaluation.interactive import TrueImage
    from icss_core.labels import ClassInfo, LabelSpace
    from icss_core.methods import Preset
    from icss_core.networks.segmenter import Segmenter

Relation = Literal["clicked", "same district", "other district"]
"""Of an image to those that were clicked."""


class CarriedScore(BaseModel):
    """A network on one image, after it was updated on others or on this one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    district: str
    relation: Relation
    in_context: bool
    """Whether the update saw the image, without clicks."""
    score: ImageScore
    mapped: dict[str, float]
    """Fraction of the pixels with a known class that the map gives to each class, by name."""
    seconds: float
    """Of the update, the same for all its images; 0 where there was none."""
    warned: bool = False
    """Whether the update's own report, which knows no truth, says that it does harm on this image."""


def update_from_truth(
    memory: Segmenter,
    label_space: LabelSpace,
    clicked: Sequence[TrueImage],
    context: Sequence[TrueImage],
    new_classes: Sequence[ClassInfo],
    preset: Preset,
    *,
    annotations: int,
    replay: Replay | None = None,
    seed: int = 0,
    device: torch.device | None = None,
) -> UpdateResult:
    """An update from clicks that are drawn from the truth of some images.

    Args:
        memory: the network before the update; not changed.
        label_space: its classes.
        clicked: the truth's indices are those of the label space extended by `new_classes`.
        context: images that take part without clicks; their truth is not used.
        new_classes: what is added; one of the clicked images must show each of them.
        preset: method and numbers.
        annotations: clicks of the background and of each new class on each clicked image; fewer where a class
            has fewer pixels.
        replay: see `update_from_images`.
        seed: of clicks, which differ between images, and training.
        device: see `update`.

    Raises:
        InvalidParameterError: `annotations` is below 1, or no image is clicked.
        IcssError: see `update_from_images`.
    """
    if annotations < 1 or not clicked:
        raise InvalidParameterError(f"{annotations} clicks on {len(clicked)} images: at least 1 of each")
    classes = [BACKGROUND, *range(len(label_space), len(label_space) + len(new_classes))]
    # another seed for each image: the same pixels of equal masks would be the same clicks
    seeds = np.random.SeedSequence(seed).generate_state(len(clicked))
    images = [
        ClickedImage(
            image.source,
            simulate_clicks(image.truth, classes=classes, per_class=annotations, seed=int(own)),
            name=image.name,
        )
        for image, own in zip(clicked, seeds, strict=True)
    ]
    images += [ClickedImage(image.source, name=image.name) for image in context]
    runtime = Runtime(device=device)
    return update_from_images(
        memory, label_space, images, new_classes, preset, replay=replay, seed=seed, runtime=runtime
    )


def score_image(
    network: Segmenter, image: TrueImage, names: Sequence[str]
) -> tuple[ImageScore, dict[str, float], NDArray[np.uint8]]:
    """IoU of a network's map of an image, the fraction of each class in it, and the map itself.

    Args:
        network: memory, updated or control network.
        image: its truth is in the order of `names`.
        names: class names by index.

    Returns:
        Scores; by class name the fraction of the pixels whose truth is known; (H, W) uint8, 255 = no data.
    """
    labels = map_image(network, image.source)
    counts = np.bincount(labels[(image.truth != IGNORE) & (labels != IGNORE)], minlength=len(names))
    total = max(int(counts.sum()), 1)
    fractions = {name: float(count) / total for name, count in zip(names, counts, strict=True)}
    return score_map(labels, image.truth, names), fractions, labels
