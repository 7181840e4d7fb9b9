"""Arrays of a working area's tiles, read as if they were one raster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from icss_core.raster.windows import Window
    from icss_core.updating.tiles import WorkingArea


class Mosaic:
    """What a network said about each tile, by place in the raster.

    Args:
        area: the tiles.
        arrays: per tile (..., size, size), all of one dtype; kept, not copied.
        fill: value of pixels that no tile shows.
    """

    def __init__(self, area: WorkingArea, arrays: Sequence[Tensor], *, fill: float) -> None:
        self._arrays, self._fill = arrays, fill
        # where tiles at the edges reach into their neighbours, the owner's view is written last
        tiles = list(enumerate(area.tiles))
        shown = [(i, tile.window, tile.window) for i, tile in tiles if tile.window != tile.cell]
        owned = [(i, tile.window, tile.cell) for i, tile in tiles]
        self._parts = [*shown, *owned]

    def read(self, window: Window) -> Tensor:
        """(..., window.height, window.width): each pixel from the tile that owns it, or else shows it."""
        shape = (*self._arrays[0].shape[:-2], window.height, window.width)
        found = torch.full(shape, self._fill, dtype=self._arrays[0].dtype)
        for position, whole, part in self._parts:
            common = part.intersect(window)
            if common.area:
                rows, cols = _slices(common, whole)
                to_rows, to_cols = _slices(common, window)
                found[..., to_rows, to_cols] = self._arrays[position][..., rows, cols]
        return found


def _slices(part: Window, whole: Window) -> tuple[slice, slice]:
    """Rows and columns of a part, counted in the whole."""
    row, col = part.row - whole.row, part.col - whole.col
    return slice(row, row + part.height), slice(col, col + part.width)
