"""GDAL's cache of decoded blocks, of which a process has one, and how large it may grow.

Not an option of a `rasterio.Env`: an Env of one thread changes the cache of all, on entering and on leaving.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rasterio._env import get_gdal_config, set_gdal_config

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPTION = "GDAL_CACHEMAX"


class _BlockCache:
    """The limit of the process, and the limits that calls have asked for and that still hold."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._otherwise: int | None = None
        self._asked: dict[object, int] = {}

    def set(self, size: int) -> None:
        with self._lock:
            self._otherwise = size
            self._apply()

    def ask(self, size: int) -> object:
        with self._lock:
            if self._otherwise is None:
                self._otherwise = int(get_gdal_config(_OPTION))
            token = object()
            self._asked[token] = size
            self._apply()
            return token

    def give_back(self, token: object) -> None:
        with self._lock:
            del self._asked[token]
            self._apply()

    def _apply(self) -> None:
        set_gdal_config(_OPTION, sum(self._asked.values()) or self._otherwise)


_BLOCK_CACHE = _BlockCache()  # one, because GDAL has one


def set_block_cache(size: int) -> None:
    """Let GDAL keep at most `size` bytes of decoded blocks in this process, until it is told otherwise.

    A process that never calls it leaves GDAL its own limit, a twentieth of the machine's memory.
    """
    _BLOCK_CACHE.set(size)


@contextmanager
def limited_block_cache(size: int) -> Iterator[None]:
    """A context in which GDAL keeps at most `size` bytes of decoded blocks, in the whole process.

    If several threads are inside, the limit is the sum of theirs, so that none drops the blocks of another:
    for a dropped block a PNG is decoded from its start again.
    """
    token = _BLOCK_CACHE.ask(size)
    try:
        yield
    finally:
        _BLOCK_CACHE.give_back(token)
