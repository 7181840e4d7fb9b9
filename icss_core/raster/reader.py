"""Windows of pixels with their validity, from a raster file, an S3 object or an array.

A raster is read window by window through one GDAL handle and never as a whole. Only plain raster formats are
opened: a VRT can name other files and addresses, so a user who may name an image could make the server read
anything (https://gdal.org/en/stable/drivers/raster/vrt.html).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from rasterio import Band
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from icss_core.errors import (
    BandMismatchError,
    ImageNotFoundError,
    ImageUnreadableError,
)
from icss_core.raster.environment import PNG_BY_ROWS, gdal_ready, georeference_optional
from icss_core.raster.source import ArraySource, Pixels, RasterSource, placed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.control import GroundControlPoint
    from rasterio.crs import CRS
    from rasterio.rpc import RPC

    from icss_core.raster.windows import Window

__all__ = ["DRIVERS", "ArraySource", "Pixels", "Raster", "RasterSource", "open_raster"]

DRIVERS: Final = ("GTiff", "COG", "PNG", "JPEG", "JP2OpenJPEG")
"""GDAL drivers that may open an image; a driver that this GDAL lacks is passed over."""

_MISSING: Final = ("does not exist", "no such file", "response code: 404", "nosuchkey", "nosuchbucket")


class Raster:
    """An open raster; `open_raster` makes one.

    It holds one GDAL handle: use it from one thread at a time (a handle may change threads, but two may not
    use it at once), and close it, best as a context manager. Alpha bands count as mask, not as bands. Values
    are as stored: scale and offset of the file are not applied.

    A pixel is valid where all of these hold: the nodata value does not fill all bands read, the mask (inside
    the file or a `.msk` beside it) and every alpha band are above 0, and no band is NaN or infinite.
    """

    def __init__(self, dataset: DatasetReader, address: str, bands: Sequence[int] | None) -> None:
        self._dataset = dataset
        self.address = address
        self.name = address.rstrip("/").rsplit("/", 1)[-1]
        self.driver: str = dataset.driver
        """GDAL's name of the format, one of `DRIVERS`."""
        interpretation = dataset.colorinterp
        self._alpha = [i for i, kind in enumerate(interpretation, 1) if kind == ColorInterp.alpha]
        self.band_numbers = self._select(bands)
        """1-based numbers of the bands read, in the order read."""
        self.height: int = dataset.height
        self.width: int = dataset.width
        self.bands = len(self.band_numbers)
        self.dtype = self._common_dtype()
        self.crs: CRS | None = dataset.crs
        self.transform: Affine = dataset.transform
        """Pixel (col, row) to map; the identity where the source has none. May be rotated or south-up."""
        points, points_crs = dataset.gcps
        self.gcps: tuple[GroundControlPoint, ...] = tuple(points)
        """Ground control points, which some sensors have instead of a transform."""
        self.gcps_crs: CRS | None = points_crs
        self.rpcs: RPC | None = dataset.rpcs
        self.nodata: float | None = dataset.nodatavals[self.band_numbers[0] - 1]
        self.block_shape: tuple[int, int] = dataset.block_shapes[self.band_numbers[0] - 1]
        """(height, width) of the blocks in which the file is stored."""
        self.colour_table = self._palette()
        """Palette index to 8-bit (red, green, blue, alpha); None where the file has no palette."""
        self._has_mask = self._per_dataset_mask()
        self._absent = self._nodata_in_dtype()
        self._options = PNG_BY_ROWS if dataset.driver == "PNG" else {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Raster({self.address!r}, {self.bands} x {self.height} x {self.width} {self.dtype})"

    def close(self) -> None:
        """Close the file; reading afterwards raises."""
        with gdal_ready():
            self._dataset.close()

    def gdal_band(self, position: int = 0) -> Band:
        """One of the bands read, for GDAL algorithms that go through a whole band by themselves."""
        return Band(self._dataset, self.band_numbers[position], self.dtype, (self.height, self.width))

    def read(self, window: Window) -> Pixels:
        """Pixels of a window; the part that sticks out of the raster is 0 and not valid.

        Raises:
            ImageUnreadableError: the bytes of this window are damaged or cannot be fetched.
        """
        inside = window.clip(self.height, self.width)
        if inside.height == 0 or inside.width == 0:
            nothing = np.zeros((self.bands, window.height, window.width), self.dtype)
            return Pixels(nothing, np.zeros((window.height, window.width), bool))
        area = RasterioWindow(inside.col, inside.row, inside.width, inside.height)
        try:
            with gdal_ready(**self._options):
                values = self._dataset.read(list(self.band_numbers), window=area)
                valid = self._read_valid(area, values)
        except RasterioError as error:
            raise ImageUnreadableError(
                f"{self.address}: rows {inside.row} to {inside.end_row - 1}, columns {inside.col} to "
                f"{inside.end_col - 1} cannot be read: {_reason(error)}"
            ) from error
        return placed(values, valid, inside, window)

    def _read_valid(self, area: RasterioWindow, values: NDArray[np.generic]) -> NDArray[np.bool_]:
        valid = np.ones((int(area.height), int(area.width)), bool)
        if self._has_mask:
            valid &= self._dataset.read_masks(self.band_numbers[0], window=area) > 0
        if self._absent is not None:
            valid &= (values != self._absent).any(axis=0)
        if self._alpha:
            valid &= (self._dataset.read(self._alpha, window=area) > 0).all(axis=0)
        return valid

    def _per_dataset_mask(self) -> bool:
        """Whether the file has a mask that is neither alpha, read on its own, nor made from nodata."""
        flags = self._dataset.mask_flag_enums[self.band_numbers[0] - 1]
        return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags

    def _nodata_in_dtype(self) -> np.generic | None:
        """Nodata as it is stored; None where no pixel can have it, or GDAL puts a mask before it."""
        flags = self._dataset.mask_flag_enums[self.band_numbers[0] - 1]
        if self.nodata is None or MaskFlags.nodata not in flags or self._has_mask:
            return None
        kind = np.dtype(self.dtype)
        if np.issubdtype(kind, np.integer):
            limits = np.iinfo(kind)
            if not float(self.nodata).is_integer() or not limits.min <= self.nodata <= limits.max:
                return None
        with np.errstate(over="ignore"):
            value: np.generic = kind.type(self.nodata)
        return value

    def _select(self, bands: Sequence[int] | None) -> tuple[int, ...]:
        colours = [i for i in range(1, self._dataset.count + 1) if i not in self._alpha]
        chosen = tuple(colours if bands is None else bands)
        if not chosen or any(number not in colours for number in chosen):
            raise BandMismatchError(
                f"{self.address} has bands {colours} (1-based, masks aside), not {chosen}"
            )
        return chosen

    def _common_dtype(self) -> str:
        names = {self._dataset.dtypes[number - 1] for number in self.band_numbers}
        if len(names) > 1 or any("complex" in name for name in names):
            raise ImageUnreadableError(
                f"{self.address} stores {sorted(names)}; bands must share one integer or float type"
            )
        return str(names.pop())

    def _palette(self) -> dict[int, tuple[int, int, int, int]] | None:
        number = self.band_numbers[0]
        if self._dataset.colorinterp[number - 1] != ColorInterp.palette:
            return None
        table: dict[int, tuple[int, int, int, int]] = self._dataset.colormap(number)
        return table


def open_raster(address: str | Path, *, bands: Sequence[int] | None = None) -> Raster:
    """Open a raster for reading by windows.

    S3 endpoint and credentials come from the caller's `rasterio.Env`, or GDAL's own environment variables.

    Args:
        address: a local path, `s3://bucket/key` or `/vsis3/bucket/key` (`/vsimem/` too, for files in memory).
        bands: 1-based band numbers in the order wanted; None: all that are not alpha.

    Raises:
        ImageNotFoundError: there is nothing at the address.
        ImageUnreadableError: it is not GeoTIFF, PNG, JPEG or JPEG 2000, or damaged, or access was refused.
        BandMismatchError: it lacks a band that was asked for, or the band is alpha.
    """
    name = str(address)
    path = _gdal_path(name)
    try:
        with gdal_ready(**PNG_BY_ROWS), georeference_optional():
            dataset = DatasetReader(path, driver=list(DRIVERS))
    except RasterioError as error:
        reason = _reason(error)
        if any(mark in reason.lower() for mark in _MISSING):
            raise ImageNotFoundError(f"there is no image at {name}: {reason}") from error
        raise ImageUnreadableError(
            f"{name} cannot be opened as GeoTIFF, PNG, JPEG or JPEG 2000: {reason}"
        ) from error
    try:
        with gdal_ready():
            return Raster(dataset, name, bands)
    except (RasterioError, CRSError) as error:
        dataset.close()
        raise ImageUnreadableError(f"{name}: its description is damaged: {_reason(error)}") from error
    except Exception:
        dataset.close()
        raise


def _gdal_path(address: str) -> str:
    """The path GDAL opens; only local files, S3 and memory, so that an address cannot reach anything else."""
    if address.startswith("s3://"):
        return "/vsis3/" + address.removeprefix("s3://")
    if address.startswith(("/vsis3/", "/vsimem/")):
        return address
    if address.startswith("/vsi") or "://" in address:
        raise ImageUnreadableError(f"{address}: images are read from local paths, s3:// and /vsis3/ only")
    if not Path(address).exists():
        raise ImageNotFoundError(f"there is no file {address}")
    if Path(address).is_dir():
        raise ImageUnreadableError(f"{address} is a folder, not an image")
    return str(Path(address).absolute())


def _reason(error: BaseException) -> str:
    """What GDAL said at first: rasterio's own message of a failed read only points to it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)
