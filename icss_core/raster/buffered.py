"""A remote file for GDAL: with a position and buffered reads, so that few requests are made."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from icss_core.errors import ImageUnreadableError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from icss_core.raster.remote import RemoteFile

_LEAST: Final = 32 * 2**10
"""Bytes of the smallest request: a whole directory of a TIFF, most often."""
_MOST: Final = 2**20
"""Bytes of the largest request made ahead of a reader that goes through a file from its start."""
_KEPT: Final = 4 * 2**20
"""Bytes kept of one open file."""
_GAP: Final = 16 * 2**10
"""Bytes between two ranges that are fetched along, if that saves a request."""
_LARGEST: Final = 8 * 2**20
"""Bytes of the largest request for several ranges at once; longer ones go side by side."""


class BufferedFile:
    """A remote file with a position, for one reader.

    A request is never for less than 32 KiB; it grows, up to 1 MiB, while each one begins where the last
    ended. What was fetched last stays, up to 4 MiB.

    GDAL cannot pass on an exception, and takes a short read for the end of the file. So every error, a
    keyboard interrupt included, is kept in `errors`, where the code that asked GDAL for pixels must look.
    """

    def __init__(self, file: RemoteFile, errors: list[BaseException]) -> None:
        self._file = file
        self._errors = errors
        self._position = 0
        self._ahead = _LEAST
        self._pieces: OrderedDict[int, bytes] = OrderedDict({0: file.start})
        """Bytes by their offset, the one used last at the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pieces.clear()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset from the start, the position or the end; returns the new position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def read(self, length: int = -1) -> bytes:
        """The next bytes, fewer at the end of the file or after an error; negative: all that are left."""
        left = max(self._file.size - self._position, 0)
        wanted = left if length < 0 else min(length, left)
        parts: list[bytes] = []
        while wanted > 0:
            part = self._some(self._position, wanted)
            if not part:
                break
            parts.append(part)
            self._position += len(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def get_byte_ranges(self, offsets: list[int], sizes: list[int]) -> list[bytes]:
        """The bytes of several ranges, zeros after an error. The position stays."""
        ranges = list(zip(offsets, sizes, strict=True))
        try:
            return _fetched(self._file, ranges)
        except BaseException as error:  # noqa: BLE001 - GDAL would go on with it pending
            self._errors.append(error)
        return [bytes(length) for length in sizes]

    def _some(self, offset: int, wanted: int) -> bytes:
        """At least one of the bytes from an offset on, at most those wanted; none after an error."""
        for start, piece in self._pieces.items():
            if start <= offset < start + len(piece):
                self._pieces.move_to_end(start)
                return piece[offset - start : offset - start + wanted]
        follows = any(start + len(piece) == offset for start, piece in self._pieces.items())
        self._ahead = min(2 * self._ahead, _MOST) if follows else _LEAST
        length = min(max(wanted, self._ahead), self._file.size - offset)
        try:
            (piece,) = self._file.fetch([(offset, length)])
        except BaseException as error:  # noqa: BLE001 - GDAL would go on with it pending
            self._errors.append(error)
            return b""
        if length <= _MOST:
            self._keep(offset, piece)
        return piece[:wanted]

    def _keep(self, offset: int, piece: bytes) -> None:
        self._pieces[offset] = piece
        while sum(map(len, self._pieces.values())) > _KEPT:
            self._pieces.popitem(last=False)


def _fetched(file: RemoteFile, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """The bytes of each range, those that lie close together by one request.

    Raises:
        ImageUnreadableError: a range leaves the file.
    """
    last = max(offset + length for offset, length in ranges)
    if last > file.size:
        raise ImageUnreadableError(f"{file.address} is cut off: it has {file.size} bytes, not {last}")
    joined: list[list[int]] = []  # first byte, end
    for offset, length in sorted(ranges):
        end = offset + length
        if joined and offset - joined[-1][1] <= _GAP and max(end, joined[-1][1]) - joined[-1][0] <= _LARGEST:
            joined[-1][1] = max(end, joined[-1][1])
        else:
            joined.append([offset, end])
    pieces = file.fetch([(first, end - first) for first, end in joined])
    firsts = [first for first, _ in joined]
    parts: list[bytes] = []
    for offset, length in ranges:
        number = bisect_right(firsts, offset) - 1
        start = offset - firsts[number]
        parts.append(pieces[number][start : start + length])
    return parts
