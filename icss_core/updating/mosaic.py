"""Per-tile arrays of a working area, read by windows of the raster as if they were one array."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from icss_core.raster.windows import Window
    from icss_core.updating.tiles import WorkingArea


class Mosaic:
    """Per-tile outputs of a network, read by their position in the raster.

    Args:
        area: the tiles.
        arrays: one (..., size, size) array for each tile, all of one dtype; not copied.
        fill: value of pixels outside all tiles.
    """

    def __init__(self, area: WorkingArea, arrays: Sequence[Tensor], *, fill: float) -> None:
        self._arrays, self._fill = arrays, fill
        # tiles at the raster's edges overlap their neighbours: write the tile that owns a pixel last
        tiles = list(enumerate(area.tiles))
        shown = [(i, tile.window, tile.window) for i, tile in tiles if tile.window != tile.cell]
        owned = [(i, tile.window, tile.cell) for i, tile in tiles]
        self._parts = [*shown, *owned]

    def read(self, window: Window) -> Tensor:
        """(..., window.height, window.width): from the tile that owns a pixel, or one that shows it."""
        shape = (*self._arrays[0].shape[:-2], window.height, window.width)
        values = torch.full(shape, self._fill, dtype=self._arrays[0].dtype)
        for position, whole, part in self._parts:
            common = part.intersect(window)
            if common.area:
                rows, cols = _slices(common, whole)
                to_rows, to_cols = _slices(common, window)
                values[..., to_rows, to_cols] = self._arrays[position][..., rows, cols]
        return values


def _slices(part: Window, whole: Window) -> tuple[slice, slice]:
    """Rows and columns of a part, counted in the whole."""
    row, col = part.row - whole.row, part.col - whole.col
    return slice(row, row + part.height), slice(col, col + part.width)
