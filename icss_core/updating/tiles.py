"""The working area of an update: square tiles of the raster that it looks at, once and for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from icss_core.networks.input_size import USUAL, InputSize
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.clicks.click_set import ClickSet


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: what is read, and the part that is its own."""

    window: Window
    """size x size; shifted back inside at the lower and right edges, sticking out of a smaller raster."""
    cell: Window
    """The part no other tile owns: the cells of all tiles partition the raster."""

    @property
    def own_rows(self) -> slice:
        """Rows of the cell, counted in the window."""
        return slice(self.cell.row - self.window.row, self.cell.end_row - self.window.row)

    @property
    def own_cols(self) -> slice:
        """Columns of the cell, counted in the window."""
        return slice(self.cell.col - self.window.col, self.cell.end_col - self.window.col)


@dataclass(frozen=True, slots=True)
class WorkingArea:
    """The tiles of an update."""

    tiles: tuple[Tile, ...]
    size: int
    whole: bool
    """Whether the tiles cover the raster."""

    def holding(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """(n,) int64: for each pixel the position of the tile that owns it, -1 where none does."""
        positions = {
            (tile.cell.row // self.size, tile.cell.col // self.size): i for i, tile in enumerate(self.tiles)
        }
        keys = zip((rows // self.size).tolist(), (cols // self.size).tolist(), strict=True)
        return np.array([positions.get(key, -1) for key in keys], dtype=np.int64)


def working_area(
    height: int,
    width: int,
    clicks: ClickSet,
    *,
    size: int = 512,
    limit: int = 64,
    seed: int = 0,
    taken: InputSize = USUAL,
) -> WorkingArea:
    """Tiles for an update of a raster of `height` x `width` pixels.

    A raster of up to `limit` tiles is covered. A larger one gives the tiles with the most clicks, and, if all
    of those fit, random others up to `limit`: old classes are distilled and compared away from clicks too.

    Args:
        height: of the raster, pixels.
        width: of the raster, pixels.
        clicks: in coordinates of the raster.
        size: side length of a tile in pixels, a multiple of 32.
        limit: most tiles; at 512 pixels, 64 tiles are 17 megapixels.
        seed: of the choice of tiles without clicks.
        taken: sizes that the network takes.
    """
    side = tile_side([(height, width)], size=size, taken=taken)
    (area,) = working_areas([(height, width, clicks)], size=side, limit=limit, seed=seed)
    return area


def tile_side(shapes: Sequence[tuple[int, int]], *, size: int = 512, taken: InputSize = USUAL) -> int:
    """Side of the tiles of rasters of these heights and widths: `size`, or less where all are smaller."""
    return min(size, taken.fitting(max(max(shape) for shape in shapes)))


def working_areas(
    rasters: Sequence[tuple[int, int, ClickSet]], *, size: int, limit: int, seed: int
) -> list[WorkingArea]:
    """Tiles for an update on several rasters, all of one size.

    Args:
        rasters: height, width, and clicks in its own coordinates, of each.
        size: side of the tiles in pixels, as `tile_side` gives it.
        limit: most tiles, of all rasters together: those with the most clicks, wherever they are.
        seed: see `working_area`.
    """
    shapes = [(-(-height // size), -(-width // size)) for height, width, _ in rasters]
    counts = [down * across for down, across in shapes]
    chosen = np.arange(sum(counts))
    if len(chosen) > limit:
        amounts = np.concatenate(
            [
                np.bincount(clicks.rows // size * across + clicks.cols // size, minlength=down * across)
                for (_, _, clicks), (down, across) in zip(rasters, shapes, strict=True)
            ]
        )
        # most clicks first; ties, and tiles without clicks, in an order of the seed's
        order = np.random.default_rng(seed).permutation(len(chosen))
        order = order[np.argsort(-amounts[order], kind="stable")]
        chosen = np.sort(order[:limit])
    areas, first = [], 0
    for (height, width, _), (_, across), count in zip(rasters, shapes, counts, strict=True):
        own = chosen[(chosen >= first) & (chosen < first + count)] - first
        tiles = tuple(_tile(int(i) // across, int(i) % across, height, width, size) for i in own)
        areas.append(WorkingArea(tiles, size, whole=len(tiles) == count))
        first += count
    return areas


def _tile(i: int, j: int, height: int, width: int, size: int) -> Tile:
    row, col = max(min(i * size, height - size), 0), max(min(j * size, width - size), 0)
    cell = Window(i * size, j * size, size, size).clip(height, width)
    return Tile(Window(row, col, size, size), cell)
