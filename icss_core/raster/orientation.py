"""Photos that a camera held sideways or upside down: stored as the sensor saw them, shown upright.

EXIF tag 274 (TIFF 6.0, p. 36) says how. Every viewer and annotation tool turns such an image before anybody
sees it, and so clicks, masks and maps of it are upright; GDAL (3.10) reads the pixels as they are stored.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from icss_core.raster.formats import JPEG, PNG, format_of
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TAG: Final = 274
_PNG_SIGNATURE: Final = 8
_MAX_ENTRIES: Final = 4096
"""Entries looked at in a directory; cameras write some dozens."""
_LARGEST_OFFSET: Final = 2**62
_MAX_CHUNKS: Final = 64
"""Chunks looked at in a PNG before its pixels; what follows them is not looked for."""


class Stream(Protocol):
    """A file open for reading bytes."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As of any file."""

    def read(self, length: int = -1, /) -> bytes:
        """As of any file."""


@dataclass(frozen=True, slots=True)
class Orientation:
    """What turns stored rows and columns into upright ones: first transposed, then flipped."""

    transposed: bool = False
    upside_down: bool = False
    """Rows are in reverse order, after transposing."""
    mirrored: bool = False
    """Columns are."""

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Upright height and width of a raster with this stored height and width; or the other way round."""
        return (width, height) if self.transposed else (height, width)

    def stored(self, window: Window, height: int, width: int) -> Window:
        """Where a window is stored that lies inside an upright raster of this height and width."""
        row = height - window.end_row if self.upside_down else window.row
        col = width - window.end_col if self.mirrored else window.col
        if self.transposed:
            return Window(col, row, window.width, window.height)
        return Window(row, col, window.height, window.width)

    def upright(self, values: NDArray[Any]) -> NDArray[Any]:
        """Stored values (..., H, W) as they are to be seen; a view."""
        turned = values.swapaxes(-1, -2) if self.transposed else values
        rows = slice(None, None, -1 if self.upside_down else 1)
        cols = slice(None, None, -1 if self.mirrored else 1)
        return turned[..., rows, cols]


AS_STORED: Final = Orientation()
_BY_NUMBER: Final = {
    1: AS_STORED,
    2: Orientation(mirrored=True),
    3: Orientation(upside_down=True, mirrored=True),
    4: Orientation(upside_down=True),
    5: Orientation(transposed=True),
    6: Orientation(transposed=True, mirrored=True),
    7: Orientation(transposed=True, upside_down=True, mirrored=True),
    8: Orientation(transposed=True, upside_down=True),
}


def orientation_of(stream: Stream, exif: str | None) -> Orientation:
    """How an image file is to be turned; as stored where it does not say, or says nothing known.

    Args:
        stream: the file; its position changes.
        exif: what GDAL says of a JPEG in its metadata item `EXIF_Orientation`.
    """
    stream.seek(0)
    start = stream.read(16)
    kind = format_of(start)
    number: int | None = None
    if kind is JPEG:
        number = int(exif) if exif is not None and exif.strip().isdecimal() else None
    elif kind is PNG:
        number = _in_png(stream)
    elif start[:2] in {b"II", b"MM"}:
        number = _in_tiff(stream, 0)
    return _BY_NUMBER.get(1 if number is None else number, AS_STORED)


def _in_png(stream: Stream) -> int | None:
    """From the chunk eXIf, which holds a TIFF directory, if it comes before the pixels."""
    offset = _PNG_SIGNATURE
    for _ in range(_MAX_CHUNKS):
        stream.seek(offset)
        head = stream.read(8)
        if len(head) < 8 or head[4:] == b"IDAT":
            return None
        if head[4:] == b"eXIf":
            return _in_tiff(stream, offset + 8)
        offset += 12 + int.from_bytes(head[:4], "big")  # length, name, checksum
    return None


def _in_tiff(stream: Stream, base: int) -> int | None:
    """From the first directory of a TIFF, or a BigTIFF, that begins at an offset of the stream."""
    stream.seek(base)
    head = stream.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in {b"+\0", b"\0+"}
    count_kind, entry_size, first = ("Q", 20, head[8:16]) if big else ("H", 12, head[4:8])
    if len(head) < 16:
        return None
    (directory,) = struct.unpack(f"{order}{'Q' if big else 'I'}", first)
    if directory > _LARGEST_OFFSET:
        return None
    stream.seek(base + directory)
    counted = stream.read(struct.calcsize(count_kind))
    if len(counted) < struct.calcsize(count_kind):
        return None
    (count,) = struct.unpack(order + count_kind, counted)
    entries = stream.read(entry_size * min(count, _MAX_ENTRIES))
    for at in range(0, len(entries) - entry_size + 1, entry_size):
        (tag,) = struct.unpack_from(f"{order}H", entries, at)
        if tag == _TAG:  # one short number, at the beginning of the field for the value
            (number,) = struct.unpack_from(f"{order}H", entries, at + (12 if big else 8))
            return int(number)
    return None
