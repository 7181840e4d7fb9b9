"""Blocks of rasters kept in memory, for reading many small windows at scattered places."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from icss_core.errors import InvalidParameterError
from icss_core.raster.source import Pixels
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from icss_core.raster.source import RasterSource


class TileCache:
    """Decoded blocks of any number of rasters under one limit; threads may share it.

    Args:
        max_bytes: blocks are dropped, least recently used first, when they hold more than this together;
            one block is always kept.

    Raises:
        InvalidParameterError: `max_bytes` is not positive.
    """

    def __init__(self, max_bytes: int = 256 * 2**20) -> None:
        if max_bytes < 1:
            raise InvalidParameterError(f"max_bytes must be positive, not {max_bytes}")
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._blocks: OrderedDict[Hashable, Pixels] = OrderedDict()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """Bytes the blocks hold now."""
        return self._bytes

    def get(self, key: Hashable, read: Callable[[], Pixels]) -> Pixels:
        """The block of a key, read if it is not here; nobody may change it.

        The lock is not held while reading: two threads that miss the same block at once both read it.
        """
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key]
        pixels = read()
        with self._lock:
            if key not in self._blocks:
                self._blocks[key] = pixels
                self._bytes += _size(pixels)
            while self._bytes > self._max_bytes and len(self._blocks) > 1:
                self._bytes -= _size(self._blocks.popitem(last=False)[1])
        return pixels

    def clear(self) -> None:
        """Drop all blocks."""
        with self._lock:
            self._blocks.clear()
            self._bytes = 0


class CachedSource:
    """Gives the same pixels as another source, reading each aligned block once while it stays in the cache.

    For two threads at once only if the source below it is.

    Args:
        source: what is read; its size is asked for when it is needed.
        block: side of the square blocks in pixels; best a multiple of the file's own blocks.
        cache: where blocks are kept, alone or together with other sources'; None: a cache of its own.

    Raises:
        InvalidParameterError: `block` is not positive.
    """

    def __init__(self, source: RasterSource, *, block: int = 512, cache: TileCache | None = None) -> None:
        if block < 1:
            raise InvalidParameterError(f"block must be positive, not {block}")
        self._source = source
        self._block = block
        self._cache = TileCache() if cache is None else cache

    @property
    def height(self) -> int:
        """Rows."""
        return self._source.height

    @property
    def width(self) -> int:
        """Columns."""
        return self._source.width

    @property
    def bands(self) -> int:
        """Bands that `read` gives."""
        return self._source.bands

    @property
    def dtype(self) -> str:
        """NumPy name of the data type of the values."""
        return self._source.dtype

    def read(self, window: Window) -> Pixels:
        """Pixels of a window; outside the raster they are 0 and not valid.

        Raises:
            ImageUnreadableError: a block that the window touches cannot be read.
        """
        inside = window.clip(self.height, self.width)
        areas = list(self._areas(inside)) if inside.height and inside.width else []
        if len(areas) == 1 and inside == window:
            pixels, here = self._cached(areas[0]), _within(window, areas[0])
            return Pixels(pixels.values[(slice(None), *here)].copy(), pixels.valid[here].copy())
        values = np.zeros((self.bands, window.height, window.width), self.dtype)
        valid = np.zeros((window.height, window.width), bool)
        for area in areas:
            pixels = self._cached(area)
            part = area.intersect(inside)
            here, there = _within(part, area), _within(part, window)
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
        return self._cache.get((self, area.row, area.col), lambda: self._source.read(area))


def _within(part: Window, whole: Window) -> tuple[slice, slice]:
    """Rows and columns of a window, counted from another's first pixel."""
    row, col = part.row - whole.row, part.col - whole.col
    return slice(row, row + part.height), slice(col, col + part.width)


def _size(pixels: Pixels) -> int:
    return pixels.values.nbytes + pixels.valid.nbytes
