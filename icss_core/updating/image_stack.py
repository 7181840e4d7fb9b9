"""The images of an update as one raster, so that all that works on an image works on several.

Images without clicks are its context: nothing is labelled there, but the memory network can be heard there.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from icss_core.clicks.click_set import ClickSet
from icss_core.errors import InvalidParameterError
from icss_core.updating.crops import count_sweep_windows, sweep_windows
from icss_core.updating.tiles import WorkingArea, tile_side, working_areas

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
    clicks: ClickSet = field(default_factory=ClickSet.empty)
    """Pixels of this image, labels of the extended label space; none: a context image."""
    name: str = "the image"
    """For messages."""


def common_kind(images: Sequence[ClickedImage]) -> tuple[int, str]:
    """Bands and data type that all images have.

    Raises:
        InvalidParameterError: they differ.
    """
    kinds = {(one.source.bands, one.source.dtype) for one in images}
    if len(kinds) > 1:
        raise InvalidParameterError(
            f"the images of an update have bands and data types of one kind, not {sorted(kinds)}"
        )
    (kind,) = kinds
    return kind


def clicked_tiles(images: Sequence[ClickedImage], *, taken: InputSize) -> int:
    """How many tiles of the images hold clicks.

    Args:
        images: all images of an update.
        taken: sizes that the network takes.
    """
    shapes = [(one.source.height, one.source.width) for one in images]
    size = tile_side(shapes, taken=taken)
    return sum(len({*zip(one.clicks.rows // size, one.clicks.cols // size, strict=True)}) for one in images)


class ImageStack:
    """Images one below another, each from a row that is a multiple of the tiles' side.

    Tiles, and so all windows that an update reads, lie in one image each. With one image, the stack is that
    image: rows, columns, tiles and windows are its own.

    Args:
        images: at least one with clicks; all of as many bands and one data type.
        limit: most tiles, of all images with clicks together.
        context_limit: most tiles of all context images together, drawn by the seed.
        seed: of the choice of tiles without clicks.
        taken: sizes that the network takes.

    Raises:
        InvalidParameterError: bands or data types differ.
    """

    def __init__(
        self,
        images: Sequence[ClickedImage],
        *,
        limit: int,
        context_limit: int = 0,
        seed: int,
        taken: InputSize,
    ) -> None:
        self._images = images
        self.bands, self.dtype = common_kind(images)
        shapes = [(one.source.height, one.source.width) for one in images]
        size = tile_side(shapes, taken=taken)
        self._areas = [WorkingArea((), size, whole=False)] * len(images)
        clicked = [number for number, one in enumerate(images) if len(one.clicks)]
        context = [number for number, one in enumerate(images) if not len(one.clicks)]
        for numbers, most in ((clicked, limit), (context, context_limit)):
            rasters = [(*shapes[number], images[number].clicks) for number in numbers]
            for number, area in zip(
                numbers, working_areas(rasters, size=size, limit=most, seed=seed), strict=True
            ):
                self._areas[number] = area
        heights = [-(-height // size) * size for height, _ in shapes]
        self._tops = [0, *accumulate(heights)][:-1]
        self.height = self._tops[-1] + images[-1].source.height
        self.width = max(width for _, width in shapes)
        self.clicks = self._stacked([one.clicks for one in images])
        """Of all images, in rows of the stack."""
        self.area = self._joined(clicked)
        """The tiles of the images with clicks."""
        self.context = [(images[number].name, self._joined([number])) for number in context]
        """Name and tiles of each context image."""
        self.everywhere = self._joined([*clicked, *context])
        """The tiles of all images: those of `area`, then those of `context`."""

    def read(self, window: Window) -> Pixels:
        """Pixels of a window, which begins in the image that it is read from."""
        number = self._number(window.row)
        return self._images[number].source.read(replace(window, row=window.row - self._tops[number]))

    def sweep_windows(self, rule: CropRule) -> list[Window]:
        """The windows of one sweep over all images with clicks; see `crops.sweep_windows`."""
        return [
            replace(window, row=window.row + top)
            for image, area, top in zip(self._images, self._areas, self._tops, strict=True)
            if len(image.clicks) and area.tiles
            for window in sweep_windows(image.source.height, image.source.width, area, rule)
        ]

    def count_sweep_windows(self, rule: CropRule) -> int:
        """How many these are."""
        return sum(
            count_sweep_windows(image.source.height, image.source.width, area, rule)
            for image, area in zip(self._images, self._areas, strict=True)
            if len(image.clicks) and area.tiles
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

    def _joined(self, numbers: Sequence[int]) -> WorkingArea:
        areas = [self._areas[number] for number in numbers]
        tops = [self._tops[number] for number in numbers]
        tiles = tuple(
            replace(
                tile,
                window=replace(tile.window, row=tile.window.row + top),
                cell=replace(tile.cell, row=tile.cell.row + top),
            )
            for area, top in zip(areas, tops, strict=True)
            for tile in area.tiles
        )
        return WorkingArea(tiles, self._areas[0].size, whole=all(area.whole for area in areas))
