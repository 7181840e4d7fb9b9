"""What an ingest made of a data set, for a person to look at: a table, and a picture of three scenes.

Labels that were read wrongly look right to every program. A person sees at once that a class has no pixel,
that a value was read as another class than meant, or that a mask lies upside down.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from icss_core.labels import BACKGROUND, IGNORE
from icss_core.raster.windows import Window
from services.ingest.label_counts import label_counts
from services.pictures import grid_picture, overlay, to_rgb

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from icss_core.labels import LabelSpace
    from icss_core.raster.source import RasterSource
    from services.ingest.mask_meaning import Readings

TABLE_FILE: Final = "check.json"
PICTURE_FILE: Final = "check.png"
_SCENES_SHOWN: Final = 3
_SIDE: Final = 512
"""Pixels of the longer side of a scene in the picture."""
_STRIP: Final = 512
_IN_LEGEND: Final = 24
"""Classes named in the picture, those with most pixels."""
_PASSED_OVER: Final = "ignored"


class ClassRow(BaseModel):
    """How often a class occurs."""

    model_config = ConfigDict(frozen=True)

    name: str
    pixels: int
    scenes: int


class ReadingRow(BaseModel):
    """What stands in mask files, and what it was read as."""

    model_config = ConfigDict(frozen=True)

    stands: str
    """Such as "value 3", or "colour #0000FF"."""
    read_as: str
    """A class, or "ignored"."""
    pixels: int


class CheckTable(BaseModel):
    """What a person should look at after an ingest."""

    model_config = ConfigDict(frozen=True)

    classes: tuple[ClassRow, ...]
    ignored_pixels: int
    """In masks; they count neither for nor against any class."""
    scenes: int
    scenes_without_mask: int
    readings: tuple[ReadingRow, ...] = ()
    """Empty for sets whose labels are no values or colours of files."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    classes: frozenset[int]
    rgb: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]


class Check:
    """Collects the table and the picture while scenes are added.

    Args:
        classes: of the data set.
    """

    def __init__(self, classes: LabelSpace) -> None:
        self._classes = classes
        self._pixels = np.zeros(256, np.int64)
        self._scenes = np.zeros(256, np.int64)
        self._readings = Counter[tuple[str, int]]()
        self._warnings: list[str] = []
        self._shown: list[_Shown] = []
        self._count = self._without = 0

    def add(self, image: RasterSource, labels: npt.NDArray[np.uint8] | None) -> None:
        """Count a scene.

        Args:
            image: of it, open; read only where it becomes part of the picture.
            labels: (H, W) indices, 255 = ignore; None where nobody labelled it.
        """
        self._count += 1
        if labels is None:
            self._without += 1
            return
        counts = label_counts(labels)
        self._pixels += counts
        self._scenes += counts > 0
        self._show(image, labels, frozenset(np.flatnonzero(counts[:IGNORE]).tolist()))

    def read(self, readings: Readings) -> None:
        """Count what a mask's values or colours were read as."""
        self._readings.update(readings)

    def warn(self, warning: str) -> None:
        """Note what a person should know."""
        self._warnings.append(warning)

    @property
    def pixels(self) -> npt.NDArray[np.int64]:
        """(256,) pixels by index so far; 255 = ignore."""
        return self._pixels

    def table(self) -> CheckTable:
        """The table so far."""
        readings = sorted(self._readings.items(), key=lambda one: (one[0][1], one[0][0]))
        return CheckTable(
            classes=tuple(
                ClassRow(name=name, pixels=int(self._pixels[index]), scenes=int(self._scenes[index]))
                for index, name in enumerate(self._classes.names)
            ),
            ignored_pixels=int(self._pixels[IGNORE]),
            scenes=self._count,
            scenes_without_mask=self._without,
            readings=tuple(
                ReadingRow(stands=stands, read_as=self._called(index), pixels=pixels)
                for (stands, index), pixels in readings
                if pixels
            ),
            warnings=(*self._warnings, *self._absent()),
        )

    def picture(self) -> bytes | None:
        """Up to three scenes with their masks, as PNG; None without any mask."""
        if not self._shown:
            return None
        rows = [[one.rgb, overlay(one.rgb, one.labels, self._classes)] for one in self._shown]
        by_size = sorted(self._shown_classes(), key=lambda index: -self._pixels[index])
        shown = set(by_size[:_IN_LEGEND])
        return grid_picture(rows, self._classes, titles=("image", "with its mask"), shown=shown)

    def _shown_classes(self) -> frozenset[int]:
        return frozenset[int]().union(*(one.classes for one in self._shown))

    def _absent(self) -> Iterable[str]:
        if self._count == self._without:
            return
        for index, name in enumerate(self._classes.names):
            if index != BACKGROUND and not self._pixels[index]:
                yield f"no pixel of any mask is {name!r}"

    def _called(self, index: int) -> str:
        return _PASSED_OVER if index == IGNORE else self._classes.names[index]

    def _show(self, image: RasterSource, labels: npt.NDArray[np.uint8], present: frozenset[int]) -> None:
        """Take a scene into the picture if there is room, or it has a class that no other there has."""
        if len(self._shown) == _SCENES_SHOWN:
            if present <= self._shown_classes():
                return
            self._shown.remove(min(self._shown, key=lambda one: len(one.classes)))
        step = max(1, -(-max(labels.shape) // _SIDE))
        self._shown.append(_Shown(present, _thumbnail(image, step), labels[::step, ::step]))


def _thumbnail(image: RasterSource, step: int) -> npt.NDArray[np.uint8]:
    """Every step-th pixel as a picture (h, w, 3); a strip of the image at a time is in memory."""
    strips = []
    rows = _STRIP // step * step or step
    for top in range(0, image.height, rows):
        pixels = image.read(Window(top, 0, min(rows, image.height - top), image.width))
        strips.append((pixels.values[:, ::step, ::step], pixels.valid[::step, ::step]))
    values = np.concatenate([values for values, _ in strips], axis=1)
    return to_rgb(values, np.concatenate([valid for _, valid in strips], axis=0))
