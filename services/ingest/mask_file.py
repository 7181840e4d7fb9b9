"""Reading a mask file: class indices as they are, or colours looked up in a palette."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from icss_core.errors import DatasetError, ImageUnreadableError, InvalidParameterError
from icss_core.labels import IGNORE
from icss_core.raster.reader import open_mask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    Colour = tuple[int, int, int]

_ROWS: Final = 512
"""How many rows of a mask of colours are looked up at a time."""


def read_values(path: Path) -> npt.NDArray[Any]:
    """All bands of a raster file as stored, (C, H, W); a nodata value changes nothing.

    Raises:
        ImageNotFoundError: no such file.
        ImageUnreadableError: not a raster we read, or damaged.
    """
    open_mask(path).close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # plain pictures are welcome
        with rasterio.open(path) as source:
            try:
                return np.asarray(source.read())
            except RasterioError as error:
                raise ImageUnreadableError(f"{path} is damaged: {error}") from error


def read_mask(
    path: Path, palette: Mapping[Colour, int] | None = None, *, tolerance: int = 0
) -> npt.NDArray[np.uint8]:
    """A mask as class indices.

    Args:
        path: One band of indices, or three of colours (alpha is passed over).
        palette: Index of each 8-bit colour; needed for masks of colours only.
        tolerance: How far each channel of a pixel may be from that of its class's colour; for masks that were
            once stored with loss, so that no pixel has quite the colour it was drawn in.

    Returns:
        (H, W) uint8, 255 = ignore.

    Raises:
        DatasetError: colours without palette, a colour that is not in it, or values over 255.
        InvalidParameterError: a tolerance at which one colour could be taken for another.
    """
    values = read_values(path)
    if values.shape[0] == 1:
        if values.min() < 0 or values.max() > IGNORE or values.dtype.kind == "f":
            raise DatasetError(f"{path}: mask values must be whole numbers from 0 to 255")
        return np.asarray(values[0], dtype=np.uint8)
    if values.shape[0] not in {3, 4} or values.dtype != np.uint8:
        raise DatasetError(
            f"{path}: a mask has one band of indices or 8-bit colours, "
            f"not {values.shape[0]} bands of {values.dtype}"
        )
    if not palette:
        raise DatasetError(f"{path} is a mask of colours, and no class has a colour to look up")
    rounded = _rounding(palette, tolerance)
    mask = np.empty(values.shape[1:], dtype=np.uint8)
    for top in range(0, values.shape[1], _ROWS):  # packed colours take four bytes a pixel: not all at once
        part = values[:3, top : top + _ROWS]
        mask[top : top + _ROWS], listed = _indices(rounded[part], palette)
        if not listed.all():
            row, col = np.argwhere(~listed)[0]
            odd = "#{:02X}{:02X}{:02X}".format(*part[:, row, col])
            raise DatasetError(f"{path}: colour {odd} at row {top + row}, column {col} belongs to no class")
    return mask


def _indices(
    colours: npt.NDArray[np.uint8], palette: Mapping[Colour, int]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Indices (H, W) of colours (3, H, W), and where a colour is in the palette at all."""
    packed = _pack(colours.astype(np.uint32))
    mask = np.full(packed.shape, IGNORE, dtype=np.uint8)
    listed = np.zeros(packed.shape, dtype=bool)
    for colour, index in palette.items():
        where = packed == _pack(np.asarray(colour, dtype=np.uint32))
        mask[where] = index
        listed |= where
    return mask, listed


def _rounding(palette: Mapping[Colour, int], tolerance: int) -> npt.NDArray[np.uint8]:
    """Table (256,) from a channel's value to the palette's value within the tolerance, or to itself."""
    levels = np.unique(np.asarray(list(palette), dtype=np.int16))
    if tolerance < 0 or (np.diff(levels) <= 2 * tolerance).any():
        raise InvalidParameterError(
            f"a tolerance of {tolerance} does not tell the channel values {levels.tolist()} apart"
        )
    table = np.arange(256, dtype=np.uint8)
    for level in levels:
        table[max(level - tolerance, 0) : level + tolerance + 1] = level
    return table


def _pack(colour: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    return np.asarray((colour[0] << 16) | (colour[1] << 8) | colour[2], dtype=np.uint32)
