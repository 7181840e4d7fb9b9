"""Remote files under names that GDAL can open.

rasterio's `opener` installs a handler in GDAL for each raster opened and removes it afterwards, in a list
that GDAL (3.10, `VSIFileManager`) guards by no lock while other threads look names up in it; and its state
hangs on context variables that another thread does not have (rasterio issue 3636). So there is one handler
for the process, installed by opening one raster of a single pixel through it, and whatever GDAL does with a
remote file runs in a copy of the context in which that was done.
"""

from __future__ import annotations

import contextvars
import threading
import uuid
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import rasterio
from rasterio.abc import MultiByteRangeResourceContainer
from rasterio.io import MemoryFile

from icss_core.raster.buffered import BufferedFile
from icss_core.raster.environment import gdal_ready, georeference_optional

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from icss_core.raster.remote import RemoteFile

_PIXEL: Final = "pixel"


class GdalName(NamedTuple):
    """How GDAL finds a remote file."""

    path: str
    context: contextvars.Context
    """Run in it, by one thread at a time, whatever GDAL does with the file: opening, reading, closing."""


@contextmanager
def gdal_name(file: RemoteFile, errors: list[BaseException]) -> Iterator[GdalName]:
    """A name under which GDAL finds a remote file until the block ends.

    Args:
        file: the file.
        errors: what goes wrong in fetching its bytes is appended here, as GDAL cannot hand on an exception;
            then nothing that GDAL gave since can be trusted.
    """
    handler = _handler()
    name = uuid.uuid4().hex
    handler.files.add(name, file, errors)
    try:
        yield GdalName(handler.prefix + name, handler.context.copy())
    finally:
        handler.files.remove(name)


class _Files(MultiByteRangeResourceContainer):  # type: ignore[misc] # rasterio has no types
    """The remote files that GDAL may open now, by the last part of their names; nothing else exists."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[RemoteFile, list[BaseException]]] = {}

    def add(self, name: str, file: RemoteFile, errors: list[BaseException]) -> None:
        self._files[name] = (file, errors)

    def remove(self, name: str) -> None:
        del self._files[name]

    def open(self, path: str, mode: str = "r", **_: Any) -> BufferedFile:
        if mode not in {"r", "rb"}:
            raise PermissionError(path)
        return BufferedFile(*self._of(path))

    def isfile(self, path: str) -> bool:
        return path in self._files

    def isdir(self, path: str) -> bool:  # noqa: ARG002 - as rasterio calls it
        return False

    def ls(self, path: str) -> list[str]:
        raise FileNotFoundError(path)

    def mtime(self, path: str) -> int:  # noqa: ARG002 - as rasterio calls it
        return 0

    def rm(self, path: str) -> None:
        raise FileNotFoundError(path)

    def size(self, path: str) -> int:
        return self._of(path)[0].size

    def _of(self, path: str) -> tuple[RemoteFile, list[BaseException]]:
        if path not in self._files:
            raise FileNotFoundError(path)
        return self._files[path]


class _Handler(NamedTuple):
    """What is installed in GDAL, once for the process."""

    files: _Files
    prefix: str
    context: contextvars.Context


_installed: list[_Handler] = []
_installing = threading.Lock()


def _handler() -> _Handler:
    """The process's handler, installed by the first who asks."""
    with _installing:
        if not _installed:
            _installed.append(contextvars.Context().run(_install))
        return _installed[0]


def _install() -> _Handler:
    files = _Files()
    pixel = _Pixel()
    files.add(_PIXEL, pixel, [])
    with gdal_ready(), georeference_optional():
        raster = rasterio.open(_PIXEL, opener=files)  # stays open: with it goes the handler
    context = contextvars.copy_context()
    weakref.finalize(files, context.run, raster.close)  # at the end of the process, after all made later
    return _Handler(files, raster.name.removesuffix(_PIXEL), context)


class _Pixel:
    """A GeoTIFF of one pixel in memory."""

    address = _PIXEL

    def __init__(self) -> None:
        with georeference_optional(), MemoryFile() as memory:
            memory.open(driver="GTiff", width=1, height=1, count=1, dtype="uint8").close()
            self.start = bytes(memory.read())
        self.size = len(self.start)

    def fetch(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self.start[offset : offset + length] for offset, length in ranges]
