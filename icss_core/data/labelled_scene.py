"""An image with its dense mask, if there is one, read window by window as pixels and labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from icss_core.errors import DatasetError
from icss_core.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from icss_core.raster.source import RasterSource
    from icss_core.raster.windows import Window


class Cut(NamedTuple):
    """Pixels, labels and maps of a window of a scene."""

    pixels: NDArray[np.generic]
    """(C, h, w), zero where invalid."""
    labels: NDArray[np.uint8]
    """(h, w), 255 where unlabelled or invalid."""
    maps: dict[str, NDArray[np.float32]]
    """Maps of the scene by name, each (h, w) in [0, 1], NaN where missing or invalid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledScene:
    """An image with its mask, if it has one; its rasters are opened when they are first read.

    Each read checks that the rasters fit together.
    """

    image: RasterSource
    mask: RasterSource | None
    """One band of uint8 ids on the image's grid; None: no pixel is labelled."""
    lookup: NDArray[np.uint8]
    """(256,) from mask ids to label-space indices, 255 = ignore."""
    possible: NDArray[np.bool_] | None = None
    """(N,) classes that the scene may show anywhere, for masks that label only some pixels or none; None: not
    known."""
    maps: Mapping[str, RasterSource] = field(default_factory=dict)
    """Maps of the scene by name, such as objectness: one band of uint8 on the image's grid, 255 times a value
    in [0, 1]."""
    size: tuple[int, int] | None = None
    """Height and width in pixels, as the data set states them; None: the image is opened to find out."""
    name: str = "of no name"
    """For messages."""

    @property
    def height(self) -> int:
        """Rows; opens the image only where the size is not given."""
        return self.image.height if self.size is None else self.size[0]

    @property
    def width(self) -> int:
        """Columns; opens the image only where the size is not given."""
        return self.image.width if self.size is None else self.size[1]

    def crop(self, window: Window) -> tuple[NDArray[np.generic], NDArray[np.uint8]]:
        """Pixels (C, h, w), zero where invalid, and labels (h, w) uint8, 255 where unlabelled or invalid.

        Raises:
            DatasetError: the rasters do not fit together.
            ImageNotFoundError, ImageUnreadableError: one of them cannot be opened or read.
        """
        pixels, labels, _ = self._labelled(window)
        return pixels, labels

    def cut(self, window: Window) -> Cut:
        """As `crop`, with the maps of the scene."""
        pixels, labels, valid = self._labelled(window)
        maps = {}
        for name, raster in self.maps.items():
            self._check_fits(name, raster)
            read = raster.read(window)
            values = read.values[0].astype(np.float32) / 255
            values[~(valid & read.valid)] = np.nan
            maps[name] = values
        return Cut(pixels, labels, maps)

    def _labelled(self, window: Window) -> tuple[NDArray[np.generic], NDArray[np.uint8], NDArray[np.bool_]]:
        """Pixels, labels, and where the image has data, (h, w) bool."""
        if self.size not in (None, (self.image.height, self.image.width)):
            raise DatasetError(
                f"scene {self.name!r}: the data set says {self.height} x {self.width} pixels, "
                f"the image has {self.image.height} x {self.image.width}"
            )
        pixels = self.image.read(window)
        if self.mask is None:
            return pixels.values, np.full(pixels.valid.shape, IGNORE, np.uint8), pixels.valid
        self._check_fits("mask", self.mask)
        mask = self.mask.read(window)
        labels = self.lookup.take(mask.values[0])
        valid = pixels.valid & mask.valid
        if not valid.all():
            labels[~valid] = IGNORE
        return pixels.values, labels, pixels.valid

    def _check_fits(self, kind: str, raster: RasterSource) -> None:
        """Raise where a raster is not one band of uint8 on the image's grid."""
        if (raster.height, raster.width) != (self.height, self.width):
            raise DatasetError(
                f"scene {self.name!r}: the image has {self.height} x {self.width} pixels, "
                f"its {kind} {raster.height} x {raster.width}"
            )
        if raster.bands != 1 or raster.dtype != "uint8":
            raise DatasetError(
                f"scene {self.name!r}: the {kind} must have one uint8 band, "
                f"not {raster.bands} of {raster.dtype}"
            )
