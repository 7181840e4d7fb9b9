"""One correction to the TIFF files GDAL writes: a second band beside a palette is not opacity."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from pathlib import Path

_EXTRA_SAMPLES: Final = 338
_UNSPECIFIED: Final = 0
_SHORT: Final = 3


def mark_extra_sample_unspecified(path: Path) -> None:
    """Say in every directory of a TIFF that its one extra sample per pixel is nothing in particular.

    GDAL (3.10, `GTiffDataset::CreateCopy`) declares the second band of a palette image as alpha whatever the
    source says, so that a confidence band would make its map transparent. The tag ExtraSamples (TIFF 6.0,
    p. 31) says which it is: a 16-bit number inside the directory, here set from 2 (alpha) to 0 in place. No
    byte moves, so the order of a Cloud Optimised GeoTIFF stays.

    Args:
        path: a TIFF or BigTIFF with one extra sample.

    Raises:
        ValueError: no TIFF, or another number of extra samples.
    """
    with path.open("r+b") as file:
        order = {b"II": "<", b"MM": ">"}.get(file.read(2))
        if order is None:
            raise ValueError(f"{path} is no TIFF")
        big = _unpack(file, order + "H", 2) == 43
        offset, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
        directory = _unpack(file, order + offset, 8 if big else 4)
        while directory:
            entries = _unpack(file, order + count, directory)
            start = directory + struct.calcsize(order + count)
            for position in range(start, start + entries * entry, entry):
                if _unpack(file, order + "H", position) == _EXTRA_SAMPLES:
                    _set_short(file, order, position, number=offset)
            directory = _unpack(file, order + offset, start + entries * entry)


def _set_short(file: BinaryIO, order: str, position: int, *, number: str) -> None:
    """Write the value of a directory entry that holds one 16-bit number."""
    kind = _unpack(file, order + "H", position + 2)
    values = _unpack(file, order + number, position + 4)
    if kind != _SHORT or values != 1:
        raise ValueError(f"{values} extra samples of type {kind}, not one 16-bit number")
    file.seek(position + 4 + struct.calcsize(order + number))
    file.write(struct.pack(order + "H", _UNSPECIFIED))


def _unpack(file: BinaryIO, layout: str, position: int) -> int:
    file.seek(position)
    (value,) = struct.unpack(layout, file.read(struct.calcsize(layout)))
    return int(value)
