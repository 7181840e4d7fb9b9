"""An image with its dense mask, read window by window as pixels and labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from icss_core.errors import DatasetError
from icss_core.labels import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from icss_core.raster.source import RasterSource
    from icss_core.raster.windows import Window


class Cut(NamedTuple):
    """What a window of a scene holds."""

    pixels: NDArray[np.generic]
    """(C, h, w), zero where invalid."""
    labels: NDArray[np.uint8]
    """(h, w), 255 where unlabelled or invalid."""
    objectness: NDArray[np.float32] | None
    """(h, w) in [0, 1], NaN where not known or invalid; None for a scene without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledScene:
    """An image with its dense mask."""

    image: RasterSource
    mask: RasterSource
    """One band of uint8 ids on the image's grid."""
    lookup: NDArray[np.uint8]
    """(256,) from mask ids to label-space indices, 255 = ignore."""
    possible: NDArray[np.bool_] | None = None
    """(N,) classes that the whole scene may show, where its mask labels a part of it only."""
    objectness: RasterSource | None = None
    """One band of uint8 on the image's grid, 255 times the probability of an object."""

    def __post_init__(self) -> None:
        one = (self.image.height, self.image.width)
        for name, raster in (("mask", self.mask), ("objectness", self.objectness)):
            if raster is None:
                continue
            other = (raster.height, raster.width)
            if one != other:
                raise DatasetError(
                    f"the image has {one[0]} x {one[1]} pixels, its {name} {other[0]} x {other[1]}"
                )
            if raster.bands != 1 or raster.dtype != "uint8":
                raise DatasetError(
                    f"the {name} must have one uint8 band, not {raster.bands} of {raster.dtype}"
                )

    def crop(self, window: Window) -> tuple[NDArray[np.generic], NDArray[np.uint8]]:
        """Pixels (C, h, w), zero where invalid, and labels (h, w) uint8, 255 where unlabelled or invalid."""
        pixels, labels, _ = self._labelled(window)
        return pixels, labels

    def cut(self, window: Window) -> Cut:
        """The same, and the objectness where the scene has one."""
        pixels, labels, valid = self._labelled(window)
        if self.objectness is None:
            return Cut(pixels, labels, None)
        read = self.objectness.read(window)
        objectness = read.values[0].astype(np.float32) / 255
        objectness[~(valid & read.valid)] = np.nan
        return Cut(pixels, labels, objectness)

    def _labelled(self, window: Window) -> tuple[NDArray[np.generic], NDArray[np.uint8], NDArray[np.bool_]]:
        """Pixels, labels, and where the image has data, (h, w) bool."""
        pixels, mask = self.image.read(window), self.mask.read(window)
        labels = self.lookup[mask.values[0].astype(np.uint8)]
        labels[~(pixels.valid & mask.valid)] = IGNORE
        return pixels.values, labels, pixels.valid
