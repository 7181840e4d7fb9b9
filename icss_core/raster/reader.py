"""Windows of pixels with their validity, from a raster file, an S3 object or an array.

A raster is read window by window through one GDAL handle and never as a whole. Only the formats of
`icss_core.raster.formats` are opened, whatever a file is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from rasterio import Band
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, RasterioError
from rasterio.windows import Window as RasterioWindow

from icss_core.errors import BandMismatchError, ImageUnreadableError
from icss_core.raster.colours import colour_table
from icss_core.raster.handle import Handle
from icss_core.raster.orientation import AS_STORED, Orientation, orientation_of
from icss_core.raster.source import ArraySource, Pixels, RasterSource, placed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.control import GroundControlPoint
    from rasterio.crs import CRS
    from rasterio.rpc import RPC

    from icss_core.raster.windows import Window

__all__ = ["ArraySource", "Pixels", "Raster", "RasterSource", "open_mask", "open_raster"]


class Raster:
    """An open raster; `open_raster` and `open_mask` make one.

    It holds one GDAL handle: use it from one thread at a time (a handle may change threads, but two may not
    use it at once), and close it, best as a context manager. Alpha bands count as mask, not as bands. Values
    are as stored, scale and offset of the file not applied; but an image's palette is looked up, and grey of
    less than 8 bits spread over 0 to 255.

    A photo that says how its camera was held (`icss_core.raster.orientation`) is read upright, whatever it is
    read for; where it lies on the map, rows and columns are as stored.

    A pixel is valid where all of these hold: not every band read has its nodata value, the mask (inside the
    file or a `.msk` beside a local one) and every alpha band are above 0, its colour in a palette is not
    wholly transparent, and no band is NaN or infinite.
    """

    def __init__(self, handle: Handle, bands: Sequence[int] | None, *, indices: bool) -> None:
        self._handle = handle
        self._dataset = dataset = handle.dataset
        self.address = handle.name
        self.name = self.address.rstrip("/").rsplit("/", 1)[-1]
        self.driver: str = dataset.driver
        """GDAL's name of the format, one of `icss_core.raster.formats.DRIVERS`."""
        interpretation = dataset.colorinterp
        asked = frozenset(bands or ())
        self._alpha = [
            i for i, kind in enumerate(interpretation, 1) if kind == ColorInterp.alpha and i not in asked
        ]
        self._table = None if indices else colour_table(dataset, self.address)
        stored = [i for i in dataset.indexes if i not in self._alpha]
        available = stored if self._table is None else range(1, self._table.colours.shape[1] + 1)
        self.band_numbers = self._select(available, bands)
        """1-based numbers of the bands read, in the order read."""
        self._stored = list(self.band_numbers) if self._table is None else stored
        self._orientation = self._read_orientation()
        self.height, self.width = self._orientation.size(dataset.height, dataset.width)
        self.bands = len(self.band_numbers)
        self._stored_dtype = self._common_dtype()
        self.dtype = self._stored_dtype if self._table is None else "uint8"
        self.crs: CRS | None = dataset.crs
        self.transform: Affine = dataset.transform
        """Pixel (col, row) to map; the identity where the source has none. May be rotated or south-up."""
        points, points_crs = dataset.gcps
        self.gcps: tuple[GroundControlPoint, ...] = tuple(points)
        """Ground control points, which some sensors have instead of a transform."""
        self.gcps_crs: CRS | None = points_crs
        self.rpcs: RPC | None = dataset.rpcs
        self.nodata: float | None = dataset.nodatavals[self._stored[0] - 1]
        self.block_shape = self._orientation.size(*dataset.block_shapes[self._stored[0] - 1])
        """(height, width) of the blocks in which the file is stored."""
        self.colour_table = self._palette()
        """Palette index to 8-bit (red, green, blue, alpha); None where the file has no palette."""
        self._has_mask = self._per_dataset_mask()
        self._absent = self._nodata_in_dtype()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Raster({self.address!r}, {self.bands} x {self.height} x {self.width} {self.dtype})"

    def close(self) -> None:
        """Close the file; reading afterwards raises."""
        self._handle.close()

    def gdal_band(self, position: int = 0) -> Band:
        """One of the bands as the file has it, for GDAL algorithms that go through a whole band."""
        return Band(self._dataset, self._stored[position], self._stored_dtype, self._dataset.shape)

    def read(self, window: Window) -> Pixels:
        """Pixels of a window; the part that sticks out of the raster is 0 and not valid.

        Raises:
            ImageUnreadableError: the bytes of this window are damaged.
            IcssError: they cannot be fetched from where they are.
        """
        inside = window.clip(self.height, self.width)
        if inside.height == 0 or inside.width == 0:
            nothing = np.zeros((self.bands, window.height, window.width), self.dtype)
            return Pixels(nothing, np.zeros((window.height, window.width), bool))
        return placed(*self.read_stored(inside), inside, window)

    def read_stored(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values (C, h, w) as they are stored, also where there is no data, and where there is (h, w).

        Args:
            window: inside the raster, not empty.

        Raises:
            ImageUnreadableError: the bytes of this window are damaged.
            IcssError: they cannot be fetched from where they are.
        """
        stored = self._orientation.stored(window, self.height, self.width)
        area = RasterioWindow(stored.col, stored.row, stored.width, stored.height)
        try:
            values, valid = self._handle.run(self._read, area)
        except RasterioError as error:
            raise ImageUnreadableError(
                f"{self.address}: rows {window.row} to {window.end_row - 1}, columns {window.col} to "
                f"{window.end_col - 1} cannot be read: {self._handle.reason(error)}"
            ) from error
        return self._orientation.upright(values), self._orientation.upright(valid)

    def _read(self, area: RasterioWindow) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        values: NDArray[np.generic] = self._dataset.read(self._stored, window=area)
        valid = np.ones((int(area.height), int(area.width)), bool)
        if self._has_mask:
            valid &= self._dataset.read_masks(self._stored[0], window=area) > 0
        if self._absent is not None:
            valid &= (values != self._absent).any(axis=0)
        if self._alpha:
            valid &= (self._dataset.read(self._alpha, window=area) > 0).all(axis=0)
        if self._table is not None:
            values, present = self._table.look_up(values[0], [number - 1 for number in self.band_numbers])
            valid &= present
        return values, valid

    @property
    def is_turned(self) -> bool:
        """Whether rows and columns are not those of the file."""
        return self._orientation is not AS_STORED

    @property
    def all_bands(self) -> tuple[int, ...]:
        """1-based numbers of the bands that the file stores, alpha among them."""
        return tuple(sorted({*self._stored, *self._alpha}))

    def alpha_hint(self, wanted: int | None) -> str:
        """What to say where another number of bands is wanted that alpha would make up; empty otherwise."""
        if wanted is None or not self._alpha or self.bands + len(self._alpha) != wanted:
            return ""
        return (
            f"; band {', '.join(map(str, self._alpha))} of the file is marked as alpha: if it is data, such "
            f"as near infrared, name the bands: {list(self.all_bands)}"
        )

    def _read_orientation(self) -> Orientation:
        dataset = self._dataset
        if not dataset.transform.is_identity or dataset.gcps[0] or dataset.rpcs is not None:
            return AS_STORED  # rows and columns have a place each
        with self._handle.stream() as stream:
            return orientation_of(stream, dataset.tags().get("EXIF_Orientation"))

    def _per_dataset_mask(self) -> bool:
        """Whether the file has a mask that is neither alpha, read on its own, nor made from nodata."""
        flags = self._dataset.mask_flag_enums[self._stored[0] - 1]
        return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags

    def _nodata_in_dtype(self) -> NDArray[np.generic] | None:
        """(C, 1, 1) nodata as stored; None where no pixel can have it, or GDAL puts a mask before it."""
        flags = self._dataset.mask_flag_enums[self._stored[0] - 1]
        nodata = [self._dataset.nodatavals[number - 1] for number in self._stored]
        if MaskFlags.nodata not in flags or self._has_mask or None in nodata:
            return None
        kind = np.dtype(self._stored_dtype)
        if np.issubdtype(kind, np.integer):
            limits = np.iinfo(kind)
            if any(not float(one).is_integer() or not limits.min <= one <= limits.max for one in nodata):
                return None
        with np.errstate(over="ignore"):
            return np.array(nodata).astype(kind)[:, None, None]

    def _select(self, available: Sequence[int], bands: Sequence[int] | None) -> tuple[int, ...]:
        chosen = tuple(available if bands is None else bands)
        if not chosen or any(number not in available for number in chosen):
            raise BandMismatchError(
                f"{self.address} has bands {list(available)} (1-based, masks aside), not {chosen}"
            )
        return chosen

    def _common_dtype(self) -> str:
        names = {self._dataset.dtypes[number - 1] for number in self._stored}
        if len(names) > 1 or any("complex" in name for name in names):
            raise ImageUnreadableError(
                f"{self.address} stores {sorted(names)}; bands must share one integer or float type"
            )
        return str(names.pop())

    def _palette(self) -> dict[int, tuple[int, int, int, int]] | None:
        number = self._stored[0]
        if self._dataset.colorinterp[number - 1] != ColorInterp.palette:
            return None
        table: dict[int, tuple[int, int, int, int]] = self._dataset.colormap(number)
        return table


def open_raster(
    address: str | Path, *, bands: Sequence[int] | None = None, name: str | None = None
) -> Raster:
    """Open an image for reading by windows.

    Args:
        address: a local path, or `s3://bucket/key` inside of `icss_core.raster.remote.remote_files`.
        bands: 1-based band numbers in the order wanted; None: all that are not alpha. A band that is named is
            data, also where the file marks it as alpha, as much software does with infrared after red, green
            and blue. An image with a palette has the bands red, green and blue.
        name: what errors call it, such as a file whose path says nothing to its user; None: the address.

    Raises:
        ImageNotFoundError: there is nothing at the address.
        ImageUnreadableError: it is none of the formats we read, or damaged.
        BandMismatchError: it lacks a band that was asked for.
        IcssError: it may not or cannot be fetched from where it is.
    """
    return _opened(str(address), bands, name=name or str(address), indices=False)


def open_mask(address: str | Path) -> Raster:
    """Open a mask, a class map or another raster of numbers: as `open_raster`, but values stay as stored.

    A palette is only for display; the values of a mask are its indices.
    """
    return _opened(str(address), None, name=str(address), indices=True)


def _opened(address: str, bands: Sequence[int] | None, *, name: str, indices: bool) -> Raster:
    handle = Handle(address, name=name)
    try:
        return handle.run(Raster, handle, bands, indices=indices)
    except (RasterioError, CRSError, CPLE_BaseError) as error:
        handle.close()
        raise ImageUnreadableError(f"{name}: its description is damaged: {handle.reason(error)}") from error
    except Exception:
        handle.close()
        raise
