"""Files that are not on this machine's disk, as the core sees them: bytes by ranges.

The core does not depend on an object store. The code that does (`services.storage`) provides a function that
opens `s3://` addresses, for as long as a block lasts: `with remote_files(opener): open_raster("s3://...")`.
GDAL itself never talks to a network: it has one cache of sizes and bytes for the whole process, which goes
stale, is emptied by one thread under another, and takes the length of an answer for that of the object where
a store answers a range with status 200, as `rclone serve s3` does (GDAL 3.10,
`VSICurlHandle::GetFileSizeOrHeaders`).
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, TypeAlias

from icss_core.errors import ImageUnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class RemoteFile(Protocol):
    """One file, as it was when it was opened."""

    @property
    def address(self) -> str:
        """The `s3://` address that the user gave."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def start(self) -> bytes:
        """Its first bytes: as many as came with its size, at least one of a file that is not empty."""

    def fetch(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each range (offset, length); the ranges lie within the file. Any thread may ask.

        Raises:
            IcssError: the bytes cannot be fetched, or the file was replaced since it was opened.
        """


RemoteOpener: TypeAlias = "Callable[[str], RemoteFile]"
"""Gives the file at an `s3://` address; raises ImageNotFoundError where there is none, another IcssError
where it may not or cannot be opened."""

_opener: ContextVar[RemoteOpener | None] = ContextVar("remote_files", default=None)


@contextmanager
def remote_files(opener: RemoteOpener) -> Iterator[None]:
    """Open `s3://` addresses with `opener`, in this thread, until the block ends.

    `RasterEnvironment` carries it into other threads.
    """
    token = _opener.set(opener)
    try:
        yield
    finally:
        _opener.reset(token)


def remote_opener() -> RemoteOpener | None:
    """What `remote_files` named in this thread; None outside of it."""
    return _opener.get()


def open_remote(address: str) -> RemoteFile:
    """The file at an `s3://` address, by whatever `remote_files` named.

    Raises:
        ImageUnreadableError: outside of `remote_files`.
        IcssError: what the opener raises.
    """
    opener = remote_opener()
    if opener is None:
        raise ImageUnreadableError(f"{address}: no object store is open in this thread to read it from")
    return opener(address)
