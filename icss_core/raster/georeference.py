"""Between pixels of a raster and coordinates on the map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.transform import GCPTransformer
from rasterio.warp import transform as reproject

from icss_core.errors import ClickError, InvalidParameterError
from icss_core.raster.crs import parse_crs, without_files
from icss_core.raster.environment import gdal_ready

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from icss_core.raster.reader import Raster


_LON_LAT: Final = CRS.from_string("OGC:CRS84")


def pixel_to_map(
    raster: Raster, rows: ArrayLike, cols: ArrayLike, crs: CRS | str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Map coordinates of pixel centres.

    Args:
        raster: gives the transform, or ground control points where it has no transform.
        rows: (n,) pixel rows; 0 is the first row, whose centre is half a pixel further down.
        cols: (n,) pixel columns.
        crs: of the result, such as "EPSG:4326" (then x is the longitude, y the latitude).

    Returns:
        x (n,) and y (n,) in units of `crs`.

    Raises:
        InvalidParameterError: the raster has no georeference, or `crs` is unknown.
        ClickError: a pixel has no place in `crs`; the message names the first.
    """
    own = raster_crs(raster)
    x, y = pixel_corner_to_map(raster, _vector(rows) + 0.5, _vector(cols) + 0.5)
    return _reprojected(x, y, own, parse_crs(crs))


def map_to_position(
    raster: Raster, xs: ArrayLike, ys: ArrayLike, crs: CRS | str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions of map points on a raster, or off it (negative, or beyond its size).

    Longitudes that are whole turns around the Earth apart are one place: a raster whose longitudes go from 0
    to 360, or on beyond 180, has the points that are given from -180 to 180, and the other way round. So have
    those in a cylindrical projection, such as Web Mercator, that goes on beyond its edge.

    Args:
        raster: gives the transform, or ground control points where it has no transform.
        xs: (n,) in units of `crs`; the longitude for EPSG:4326.
        ys: (n,) in units of `crs`; the latitude for EPSG:4326.
        crs: of the points.

    Returns:
        rows (n,) and columns (n,) float64; (0, 0) is the outer corner of the first pixel, (0.5, 0.5) its
        centre.

    Raises:
        InvalidParameterError: the raster has no georeference, or `crs` is unknown.
        ClickError: a point has no place in the raster's CRS; the message names the first.
    """
    own = raster_crs(raster)
    x, y = _reprojected(_vector(xs), _vector(ys), parse_crs(crs), own)
    row, col = _map_to_pixel(raster, x, y)
    off = ~((row >= 0) & (row < raster.height) & (col >= 0) & (col < raster.width))
    if off.any() and (turn := full_turn(own)) is not None:
        middle, _ = pixel_corner_to_map(raster, _vector(raster.height / 2), _vector(raster.width / 2))
        nearest = x[off] + turn * np.rint((middle - x[off]) / turn)
        row[off], col[off] = _map_to_pixel(raster, nearest, y[off])
    return row, col


def degrees_of(crs: CRS) -> float | None:
    """Degrees in a unit of a CRS of longitude and latitude; None of any other."""
    if not crs.is_geographic:
        return None
    _, radians = crs.units_factor
    return float(np.degrees(radians))


def full_turn(crs: CRS) -> float | None:
    """Once around the Earth along x, in units of a CRS; None where x does not come back.

    It does in longitude and latitude, and in cylindrical projections: at any latitude the same step of
    longitude is the same step of x, and none of y.
    """
    degrees = degrees_of(crs)
    if degrees is not None:
        return 360 / degrees
    if not crs.is_projected:
        return None
    latitudes = np.array([10.0, 10.0, 10.0, 55.0, 55.0])
    start = 0.0
    for start in (-150.0, 10.0):  # of the two, one is far from where longitudes jump
        try:
            x, y = _reprojected(np.array([0.0, 1.0, 40.0, 0.0, 40.0]) + start, latitudes, _LON_LAT, crs)
        except ClickError:
            return None
        step = x[1] - x[0]
        off = np.abs([x[2] - x[0] - 40 * step, x[4] - x[3] - 40 * step, *(y[:3] - y[0]), y[4] - y[3]])
        if step != 0 and off.max() < 1e-6 * abs(step):
            return float(360 * abs(step))
    return None


def floored(positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Pixels (n,) that positions (n,) lie in; what is far off any raster stays far off."""
    limit = float(2**62)  # exact as int64
    return np.clip(np.floor(positions), -limit, limit).astype(np.int64)


def raster_crs(raster: Raster) -> CRS:
    """The CRS in which the raster's transform, or its ground control points, are given.

    Raises:
        InvalidParameterError: it has none, so that only pixel coordinates mean something on it; or its
            definition names a file.
    """
    crs = raster.crs if raster.transform != Affine.identity() else raster.gcps_crs or raster.crs
    if crs is None or (raster.transform == Affine.identity() and not raster.gcps):
        raise InvalidParameterError(f"{raster.address} {_why_nowhere(raster)}")
    try:
        return without_files(crs)
    except InvalidParameterError as error:
        raise InvalidParameterError(f"{raster.address}: {error}") from error


def _why_nowhere(raster: Raster) -> str:
    """Why map coordinates mean nothing on a raster, and what can be done."""
    if raster.transform != Affine.identity() or raster.gcps:
        return (
            "has a place, but no CRS says in what; give it one (gdal_edit.py -a_srs EPSG:...), or give pixel "
            "coordinates (col, row) instead"
        )
    if raster.rpcs is not None:
        return (
            "has no georeference but the RPCs of its sensor, which place a pixel only where its height is "
            "known; orthorectify it (gdalwarp -rpc), or give pixel coordinates (col, row) instead"
        )
    return "has no georeference; give pixel coordinates (col, row) instead"


def _map_to_pixel(
    raster: Raster, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns, the inverse of `pixel_corner_to_map`."""
    if raster.transform == Affine.identity() and raster.gcps:
        with gdal_ready(), GCPTransformer(list(raster.gcps)) as transformer:
            row, col = transformer.rowcol(x, y, op=np.positive)  # without op it would give whole numbers
    elif raster.transform.is_degenerate:
        raise InvalidParameterError(f"{raster.address} has a transform without inverse: {raster.transform!r}")
    else:
        col, row = applied(~raster.transform, x, y)
    return np.array(row, np.float64), np.array(col, np.float64)


def pixel_corner_to_map(
    raster: Raster, rows: NDArray[np.float64], cols: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates in `raster_crs`; (0, 0) is the outer corner of the first pixel, not its centre."""
    if raster.transform == Affine.identity() and raster.gcps:
        with gdal_ready(), GCPTransformer(list(raster.gcps)) as transformer:
            x, y = transformer.xy(rows, cols, offset="ul")
    else:
        x, y = applied(raster.transform, cols, rows)
    return np.asarray(x, np.float64), np.asarray(y, np.float64)


def _reprojected(
    x: NDArray[np.float64], y: NDArray[np.float64], source: CRS, target: CRS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    bad = ~(np.isfinite(x) & np.isfinite(y))
    if not bad.any() and source != target and len(x):
        try:
            with gdal_ready():
                new_x, new_y = reproject(source, target, x, y)
        except (RasterioError, CRSError, CPLE_BaseError) as error:
            raise ClickError(
                f"no way from {source.to_string()} to {target.to_string()}: {str(error)[:200]}"
            ) from error
        new_x, new_y = np.asarray(new_x, np.float64), np.asarray(new_y, np.float64)
        bad = ~(np.isfinite(new_x) & np.isfinite(new_y))
    else:
        new_x, new_y = x, y
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ClickError(
            f"point {first} ({x[first]}, {y[first]}) in {source.to_string()} has no place in "
            f"{target.to_string()}"
        )
    return new_x, new_y


def _vector(values: ArrayLike) -> NDArray[np.float64]:
    return np.atleast_1d(np.asarray(values, np.float64))


def applied(
    transform: Affine, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (n,) and (n,) after an affine transform."""
    return (
        transform.a * x + transform.b * y + transform.c,
        transform.d * x + transform.e * y + transform.f,
    )
