"""Whether clicks fall on the raster, and on pixels that have data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from icss_core.raster.source import RasterSource

_CELL: Final = 512
"""Clicks are looked up by cells of a grid of this many pixels: one small read for all clicks of a cell."""


def on_raster(rows: NDArray[np.int64], cols: NDArray[np.int64], source: RasterSource) -> NDArray[np.bool_]:
    """(n,) bool: the pixel (row, col) is one of the raster's; rows (n,) and cols (n,) may be any integers."""
    inside: NDArray[np.bool_] = (rows >= 0) & (rows < source.height) & (cols >= 0) & (cols < source.width)
    return inside


def on_data(rows: NDArray[np.int64], cols: NDArray[np.int64], source: RasterSource) -> NDArray[np.bool_]:
    """(n,) bool: the pixel has data.

    Reads, for each grid cell that holds clicks, the smallest window around them, so thousands of clicks
    cost at most one pass over the raster and never more memory than a cell.

    Args:
        rows: (n,) pixel rows inside the raster.
        cols: (n,) pixel columns inside the raster.
        source: the raster.

    Raises:
        ImageUnreadableError: the raster is damaged there.
    """
    valid = np.zeros(len(rows), np.bool_)
    for members in _cells(rows, cols):
        top, left = int(rows[members].min()), int(cols[members].min())
        height, width = int(rows[members].max()) - top + 1, int(cols[members].max()) - left + 1
        pixels = source.read(Window(top, left, height, width))
        valid[members] = pixels.valid[rows[members] - top, cols[members] - left]
    return valid


def _cells(rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Positions of the clicks of each grid cell, cells in row-major order."""
    if not len(rows):
        return
    cells = rows // _CELL * (int(cols.max()) // _CELL + 1) + cols // _CELL
    order = np.argsort(cells, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(cells[order])) + 1)
