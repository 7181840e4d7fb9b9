"""A report of scores, in which the name of every mean says over what it was taken."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from icss_core.errors import InvalidParameterError
from icss_core.labels import BACKGROUND
from icss_core.metrics.confusion import (
    ConfusionAccumulator,
    accuracy,
    f1_per_class,
    iou_per_class,
    mean_defined,
    precision_per_class,
    recall_per_class,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from icss_core.metrics.confusion import Scores


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassScores(_Frozen):
    """Scores of one class in [0, 1]; None where the truth lacks it (precision: where none was predicted)."""

    pixels: int
    """Ground-truth pixels over all images."""
    iou_pooled: float | None
    """From one confusion matrix over all images."""
    iou_image_wise: float | None
    """Mean of the IoU of the images that contain the class."""
    f1_pooled: float | None
    precision_pooled: float | None
    recall_pooled: float | None


class GroupMeans(_Frozen):
    """Mean IoU in [0, 1] over groups of classes; None where no class of the group is in the ground truth.

    ICSS reports `all_with_background` image-wise. MiB reports `all_without_background` pooled, WILSON
    `all_with_background` pooled beside old and new without it.
    """

    all_with_background: float | None
    all_without_background: float | None
    old_with_background: float | None
    old_without_background: float | None
    new: float | None


class SegmentationReport(_Frozen):
    """Scores of class maps against ground truth.

    `pooled` adds up all images before dividing: every pixel counts alike. `image_wise` averages over the
    classes present in an image, then over the images where any of the group's classes is present: every
    image counts alike.
    """

    images: int
    pixels: int
    """Pixels with ground truth and a prediction."""
    classes: dict[str, ClassScores]
    """By class name, in the order of the label space."""
    new_classes: tuple[str, ...]
    mean_iou_pooled: GroupMeans
    mean_iou_image_wise: GroupMeans
    accuracy_pooled: float | None
    accuracy_image_wise: float | None
    mean_f1_pooled_with_background: float | None
    iou_of_images: dict[str, dict[str, float | None]]
    """Image name to class name to IoU; None where the image lacks the class."""
    mean_iou_of_images: dict[str, float | None]
    """Image name to the mean over its classes, background included."""

    def __str__(self) -> str:
        """A table of classes and a table of means, in percent."""
        width = max(20, *(len(name) for name in self.classes))
        lines = [f"{'class':{width}} {'pixels':>12} {'IoU pooled':>11} {'image-wise':>11} {'F1 pooled':>10}"]
        for name, scores in self.classes.items():
            label = f"{name} (new)" if name in self.new_classes else name
            lines.append(
                f"{label:{width}} {scores.pixels:12,} {_percent(scores.iou_pooled):>11} "
                f"{_percent(scores.iou_image_wise):>11} {_percent(scores.f1_pooled):>10}"
            )
        lines.append(f"{'mean IoU':{width}} {'':12} {'pooled':>11} {'image-wise':>11}")
        for group in GroupMeans.model_fields:
            pooled, wise = getattr(self.mean_iou_pooled, group), getattr(self.mean_iou_image_wise, group)
            lines.append(
                f"{group.replace('_', ' '):{width}} {'':12} {_percent(pooled):>11} {_percent(wise):>11}"
            )
        lines.append(
            f"{'accuracy':{width}} {self.pixels:12,} {_percent(self.accuracy_pooled):>11} "
            f"{_percent(self.accuracy_image_wise):>11}"
        )
        return "\n".join(lines)


def segmentation_report(
    confusion: ConfusionAccumulator, *, class_names: Sequence[str], new_classes: Sequence[int] = ()
) -> SegmentationReport:
    """The report of the images an accumulator has seen.

    Args:
        confusion: one matrix per image.
        class_names: N names by index, 0 = background.
        new_classes: indices of the classes that were added; all others are old.

    Raises:
        InvalidParameterError: names and matrices differ in number, or a new class is not an index from 1 to
            N - 1.
    """
    n_classes = confusion.n_classes
    if len(class_names) != n_classes:
        raise InvalidParameterError(f"{len(class_names)} class names for {n_classes} classes")
    if not set(new_classes) <= set(range(1, n_classes)):
        raise InvalidParameterError(f"new classes are indices from 1 to {n_classes - 1}, not {new_classes}")
    pooled = confusion.pooled
    iou, iou_of_images = iou_per_class(pooled), iou_per_class(confusion.matrices)
    per_class = {
        "iou_pooled": iou,
        "iou_image_wise": mean_defined(iou_of_images.T),
        "f1_pooled": f1_per_class(pooled),
        "precision_pooled": precision_per_class(pooled),
        "recall_pooled": recall_per_class(pooled),
    }
    classes = {
        name: ClassScores(
            pixels=int(pooled[index].sum()),
            **{score: _number(values[index]) for score, values in per_class.items()},
        )
        for index, name in enumerate(class_names)
    }
    images = confusion.images
    return SegmentationReport(
        images=len(images),
        pixels=int(pooled.sum()),
        classes=classes,
        new_classes=tuple(class_names[index] for index in new_classes),
        mean_iou_pooled=_group_means(lambda group: mean_defined(iou, group), n_classes, new_classes),
        mean_iou_image_wise=_group_means(
            lambda group: mean_defined(mean_defined(iou_of_images, group)), n_classes, new_classes
        ),
        accuracy_pooled=_number(accuracy(pooled)),
        accuracy_image_wise=_number(mean_defined(accuracy(confusion.matrices))),
        mean_f1_pooled_with_background=_number(mean_defined(per_class["f1_pooled"])),
        iou_of_images={
            image: {name: _number(score) for name, score in zip(class_names, scores, strict=True)}
            for image, scores in zip(images, iou_of_images, strict=True)
        },
        mean_iou_of_images={
            image: _number(score) for image, score in zip(images, mean_defined(iou_of_images), strict=True)
        },
    )


def _group_means(
    mean: Callable[[list[int]], Scores], n_classes: int, new_classes: Sequence[int]
) -> GroupMeans:
    everything = list(range(n_classes))
    old = [index for index in everything if index not in new_classes]
    groups = {
        "all_with_background": everything,
        "all_without_background": [index for index in everything if index != BACKGROUND],
        "old_with_background": old,
        "old_without_background": [index for index in old if index != BACKGROUND],
        "new": list(new_classes),
    }
    return GroupMeans(**{name: _number(mean(group)) for name, group in groups.items()})


def _number(value: Scores | np.floating) -> float | None:
    """A float for JSON, which has no NaN."""
    number = float(value)
    return None if math.isnan(number) else number


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
