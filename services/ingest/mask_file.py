"""Reading a mask file: class indices as they are, or colours looked up in a palette."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from icss_core.errors import DatasetError, ImageUnreadableError
from icss_core.labels import IGNORE
from icss_core.raster.reader import open_raster

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    Colour = tuple[int, int, int]


def read_values(path: Path) -> npt.NDArray[Any]:
    """All bands of a raster file as stored, (C, H, W); a nodata value changes nothing.

    Raises:
        ImageNotFoundError: no such file.
        ImageUnreadableError: not a raster we read, or damaged.
    """
    open_raster(path).close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # plain pictures are welcome
        with rasterio.open(path) as source:
            try:
                return np.asarray(source.read())
            except RasterioError as error:
                raise ImageUnreadableError(f"{path} is damaged: {error}") from error


def read_mask(path: Path, palette: Mapping[Colour, int] | None = None) -> npt.NDArray[np.uint8]:
    """A mask as class indices.

    Args:
        path: One band of indices, or three of colours (alpha is passed over).
        palette: Index of each 8-bit colour; needed for masks of colours only.

    Returns:
        (H, W) uint8, 255 = ignore.

    Raises:
        DatasetError: colours without palette, a colour that is not in it, or values over 255.
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
    packed = _pack(values[:3].astype(np.uint32))
    mask = np.full(packed.shape, IGNORE, dtype=np.uint8)
    known = np.zeros(packed.shape, dtype=bool)
    for colour, index in palette.items():
        where = packed == _pack(np.asarray(colour, dtype=np.uint32))
        mask[where] = index
        known |= where
    if not known.all():
        row, col = np.argwhere(~known)[0]
        odd = "#{:02X}{:02X}{:02X}".format(*values[:3, row, col])
        raise DatasetError(f"{path}: colour {odd} at row {row}, column {col} belongs to no class")
    return mask


def _pack(colour: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    return np.asarray((colour[0] << 16) | (colour[1] << 8) | colour[2], dtype=np.uint32)
