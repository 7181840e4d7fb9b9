"""Blocks of a raster kept in memory, for reading many small windows at scattered places."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from icss_core.errors import InvalidParameterError
from icss_core.raster.source import Pixels
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icss_core.raster.reader import RasterSource


class CachedSource:
    """Gives the same pixels as another source, reading each aligned block once while it stays in the cache.

    Not for two threads at once, like the raster below it.

    Args:
        source: what is read.
        block: side of the square blocks in pixels; best a multiple of the file's own blocks.
        max_bytes: blocks are dropped, least recently used first, when they hold more than this together;
            one block is always kept.

    Raises:
        InvalidParameterError: `block` or `max_bytes` is not positive.
    """

    def __init__(self, source: RasterSource, *, block: int = 512, max_bytes: int = 256 * 2**20) -> None:
        if block < 1 or max_bytes < 1:
            raise InvalidParameterError(f"block and max_bytes must be positive, not {block} and {max_bytes}")
        self.height, self.width = source.height, source.width
        self.bands, self.dtype = source.bands, source.dtype
        self._source = source
        self._block = block
        self._max_bytes = max_bytes
        self._blocks: OrderedDict[tuple[int, int], Pixels] = OrderedDict()
        self._bytes = 0

    @property
    def cached_bytes(self) -> int:
        """Bytes the cached blocks hold now."""
        return self._bytes

    def read(self, window: Window) -> Pixels:
        """Pixels of a window; outside the raster they are 0 and not valid.

        Raises:
            ImageUnreadableError: a block that the window touches cannot be read.
        """
        values = np.zeros((self.bands, window.height, window.width), self.dtype)
        valid = np.zeros((window.height, window.width), bool)
        inside = window.clip(self.height, self.width)
        if inside.height and inside.width:
            for area in self._areas(inside):
                pixels = self._cached(area)
                row, end_row = max(area.row, inside.row), min(area.end_row, inside.end_row)
                col, end_col = max(area.col, inside.col), min(area.end_col, inside.end_col)
                there = np.s_[
                    row - window.row : end_row - window.row, col - window.col : end_col - window.col
                ]
                here = np.s_[row - area.row : end_row - area.row, col - area.col : end_col - area.col]
                values[(slice(None), *there)] = pixels.values[(slice(None), *here)]
                valid[there] = pixels.valid[here]
        return Pixels(values, valid)

    def _areas(self, inside: Window) -> Iterator[Window]:
        """The aligned blocks that a window on the raster touches, cut at the raster's edges."""
        size = self._block
        for row in range(inside.row // size * size, inside.end_row, size):
            for col in range(inside.col // size * size, inside.end_col, size):
                yield Window(row, col, size, size).clip(self.height, self.width)

    def _cached(self, area: Window) -> Pixels:
        key = (area.row, area.col)
        if key in self._blocks:
            self._blocks.move_to_end(key)
            return self._blocks[key]
        pixels = self._source.read(area)
        self._blocks[key] = pixels
        self._bytes += pixels.values.nbytes + pixels.valid.nbytes
        while self._bytes > self._max_bytes and len(self._blocks) > 1:
            _, dropped = self._blocks.popitem(last=False)
            self._bytes -= dropped.values.nbytes + dropped.valid.nbytes
        return pixels
