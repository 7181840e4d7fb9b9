"""The images of an update as one raster, so that all that works on an image works on several."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from icss_core.clicks.click_set import ClickSet
from icss_core.errors import InvalidParameterError
from icss_core.updating.crops import count_sweep_windows, sweep_windows
from icss_core.updating.tiles import WorkingArea, working_areas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.methods import CropRule
    from icss_core.networks.input_size import InputSize
    from icss_core.raster.source import Pixels, RasterSource
    from icss_core.raster.windows import Window


@dataclass(frozen=True, slots=True, eq=False)
class ClickedImage:
    """An image, and the clicks on it."""

    source: RasterSource
    clicks: ClickSet
    """Pixels of this image, labels of the extended label space."""
    name: str = "the image"
    """For messages."""


class ImageStack:
    """Images one below another, each from a row that is a multiple of the tiles' side.

    Tiles, and so all windows that an update reads, lie in one image each. With one image, the stack is that
    image: rows, columns, tiles and windows are its own.

    Args:
        images: at least one; all of as many bands and one data type.
        limit: most tiles, of all images together.
        seed: of the choice of tiles without clicks.
        taken: sizes that the network takes.

    Raises:
        InvalidParameterError: bands or data types differ.
    """

    def __init__(self, images: Sequence[ClickedImage], *, limit: int, seed: int, taken: InputSize) -> None:
        self._images = images
        kinds = {(one.source.bands, one.source.dtype) for one in images}
        if len(kinds) > 1:
            raise InvalidParameterError(
                f"the images of an update have bands and data types of one kind, not {sorted(kinds)}"
            )
        ((self.bands, self.dtype),) = kinds
        self._areas = working_areas(
            [(one.source.height, one.source.width, one.clicks) for one in images],
            limit=limit,
            seed=seed,
            taken=taken,
        )
        size = self._areas[0].size
        heights = [-(-one.source.height // size) * size for one in images]
        self._tops = [0, *accumulate(heights)][:-1]
        self.height = self._tops[-1] + images[-1].source.height
        self.width = max(one.source.width for one in images)
        self.clicks = self._stacked([one.clicks for one in images])
        """Of all images, in rows of the stack."""
        self.area = self._joined()
        """The tiles of all images."""

    def read(self, window: Window) -> Pixels:
        """Pixels of a window, which begins in the image that it is read from."""
        number = self._number(window.row)
        return self._images[number].source.read(replace(window, row=window.row - self._tops[number]))

    def sweep_windows(self, rule: CropRule) -> list[Window]:
        """The windows of one sweep over all images; see `crops.sweep_windows`."""
        return [
            replace(window, row=window.row + top)
            for image, area, top in zip(self._images, self._areas, self._tops, strict=True)
            for window in (
                sweep_windows(image.source.height, image.source.width, area, rule) if area.tiles else ()
            )
        ]

    def count_sweep_windows(self, rule: CropRule) -> int:
        """How many these are."""
        return sum(
            count_sweep_windows(image.source.height, image.source.width, area, rule)
            for image, area in zip(self._images, self._areas, strict=True)
            if area.tiles
        )

    def _number(self, row: int) -> int:
        """The image that a row belongs to."""
        return int(np.searchsorted(self._tops, row, side="right")) - 1

    def _stacked(self, clicks: Sequence[ClickSet]) -> ClickSet:
        parts = list(zip(clicks, self._tops, strict=True))
        return ClickSet(
            np.concatenate([one.rows + top for one, top in parts]),
            np.concatenate([one.cols for one, _ in parts]),
            np.concatenate([one.labels for one, _ in parts]),
        )

    def _joined(self) -> WorkingArea:
        tiles = tuple(
            replace(
                tile,
                window=replace(tile.window, row=tile.window.row + top),
                cell=replace(tile.cell, row=tile.cell.row + top),
            )
            for area, top in zip(self._areas, self._tops, strict=True)
            for tile in area.tiles
        )
        return WorkingArea(tiles, self._areas[0].size, whole=all(area.whole for area in self._areas))
