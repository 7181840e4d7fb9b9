"""Any number of rasters read through a limited number of open files and a limited number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias

from icss_core.errors import InvalidParameterError
from icss_core.raster.reader import open_raster
from icss_core.raster.tile_cache import CachedSource, TileCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from icss_core.raster.reader import Raster
    from icss_core.raster.source import Pixels, RasterSource
    from icss_core.raster.windows import Window

    Opener: TypeAlias = Callable[[str], Raster]


class RasterPool:
    """Sources that open their file when it is first needed, and again after it was closed for others.

    Threads may share a pool and its sources: handles are opened, read and closed under one lock, because GDAL
    allows a handle to change threads but not to be used by two at once. Handles for each thread would double
    their number and decode blocks twice, for little gain: the two threads that read here, the one that
    prefetches crops and the one that validates, nearly always take turns. Cached pixels are given without
    waiting for the lock.

    Close it, best as a context manager; its sources raise afterwards.

    Args:
        max_open: files open at the same time; the least recently used is closed for another.
        max_bytes: decoded pixels kept, of all sources together.

    Raises:
        InvalidParameterError: a limit is not positive.
    """

    def __init__(self, *, max_open: int = 256, max_bytes: int = 2**30) -> None:
        if max_open < 1:
            raise InvalidParameterError(f"max_open must be positive, not {max_open}")
        self._max_open = max_open
        self._cache = TileCache(max_bytes)
        self._lock = threading.Lock()
        self._handles: OrderedDict[tuple[str, Opener], Raster] = OrderedDict()
        self._closed = False
        self.openings = 0
        """How often a file was opened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def open_files(self) -> int:
        """Files open now."""
        return len(self._handles)

    @property
    def cached_bytes(self) -> int:
        """Bytes of decoded pixels kept now."""
        return self._cache.bytes

    def source(
        self, address: str, opener: Opener = open_raster, *, layout: Layout | None = None
    ) -> RasterSource:
        """The raster at an address; nothing is opened yet, so errors of opening come with the first use.

        Args:
            address: as `opener` takes it.
            opener: opens the raster; `open_raster` for images.
            layout: its size and kind, where they are known; None: the raster is opened when they are asked.
        """
        return CachedSource(_PooledRaster(self, address, opener, layout), cache=self._cache)

    def close(self) -> None:
        """Close all files and drop all pixels."""
        with self._lock:
            self._closed = True
            while self._handles:
                self._handles.popitem()[1].close()
            self._cache.clear()

    def read(self, address: str, opener: Opener, window: Window) -> Pixels:
        """Pixels of a window of the raster at an address."""
        with self._lock:
            return self._handle(address, opener).read(window)

    def describe(self, address: str, opener: Opener) -> Layout:
        """Size and kind of the raster at an address."""
        with self._lock:
            raster = self._handle(address, opener)
            return Layout(raster.height, raster.width, raster.bands, raster.dtype)

    def _handle(self, address: str, opener: Opener) -> Raster:
        """An open file; the lock must be held while it is used."""
        key = (address, opener)
        if key in self._handles:
            self._handles.move_to_end(key)
            return self._handles[key]
        if self._closed:
            raise RuntimeError(f"{address} is read after its pool was closed")
        while len(self._handles) >= self._max_open:
            self._handles.popitem(last=False)[1].close()
        self._handles[key] = opener(address)
        self.openings += 1
        return self._handles[key]


@dataclass(frozen=True, slots=True)
class Layout:
    """Size and kind of a raster."""

    height: int
    width: int
    bands: int
    dtype: str


class _PooledRaster:
    """A raster of a pool; its size and kind are read once."""

    __slots__ = ("_address", "_layout", "_opener", "_pool")

    def __init__(self, pool: RasterPool, address: str, opener: Opener, layout: Layout | None) -> None:
        self._pool, self._address, self._opener = pool, address, opener
        self._layout = layout

    @property
    def height(self) -> int:
        return self._described().height

    @property
    def width(self) -> int:
        return self._described().width

    @property
    def bands(self) -> int:
        return self._described().bands

    @property
    def dtype(self) -> str:
        return self._described().dtype

    def read(self, window: Window) -> Pixels:
        return self._pool.read(self._address, self._opener, window)

    def _described(self) -> Layout:
        if self._layout is None:
            self._layout = self._pool.describe(self._address, self._opener)
        return self._layout
