"""From pixels of a map to longitude and latitude, where a way leads there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform as reproject

from icss_core.errors import InvalidParameterError
from icss_core.raster.environment import gdal_ready
from icss_core.raster.georeference import degrees_of, pixel_corner_to_map, raster_crs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from icss_core.raster.reader import Raster

LONGITUDE_LATITUDE: Final = "EPSG:4326"


class LonLat:
    """Longitude and latitude of pixels of one raster.

    Args:
        raster: with a CRS, and a transform or ground control points.

    Raises:
        InvalidParameterError: its CRS cannot be used.
    """

    def __init__(self, raster: Raster) -> None:
        self._raster = raster
        self._crs = raster_crs(raster)
        self._target = CRS.from_string(LONGITUDE_LATITUDE)
        self._degrees = degrees_of(self._crs) if self._is_upright() else None
        self.counts_on = self._degrees is not None
        """Whether longitudes are those of the raster and may go on beyond 180; else from -180 to 180."""

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) degrees of (n, 2) columns and rows; (0, 0) is the outer corner of the first pixel.

        Latitudes end at the poles, also where a raster has half a pixel beyond.

        Raises:
            InvalidParameterError: a point has no place on the Earth.
        """
        x, y = pixel_corner_to_map(self._raster, points[:, 1], points[:, 0])
        placed = np.column_stack(self._reprojected(x, y))
        if self._degrees is not None:
            placed[:, 0] += 360 * np.rint((x * self._degrees - placed[:, 0]) / 360)
        placed[:, 1] = np.clip(placed[:, 1], -90, 90)
        if not np.isfinite(placed).all():
            raise InvalidParameterError(
                f"{self._raster.address}: parts of it have no place in longitude and latitude"
            )
        return placed

    def difference(self, one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) `one` less `other`, longitudes the shorter way around unless they count on."""
        apart = one - other
        if not self.counts_on:
            apart[:, 0] -= 360 * np.rint(apart[:, 0] / 360)
        return apart

    def _is_upright(self) -> bool:
        """Whether x and y of the CRS are longitude and latitude, rather than those of another pole."""
        degrees = degrees_of(self._crs)
        if degrees is None:
            return False
        lon, _ = self._reprojected(
            np.array([0.0, 40, 0, 40]) / degrees, np.array([10.0, 10, 50, 50]) / degrees
        )
        steps = np.array([lon[1] - lon[0] - 40, lon[3] - lon[2] - 40, lon[2] - lon[0]])
        return bool((np.abs(steps) < 1).all())

    def _reprojected(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self._crs == self._target:
            return x, y
        try:
            with gdal_ready():
                lon, lat = reproject(self._crs, self._target, x, y)
        except (RasterioError, CRSError, CPLE_BaseError) as error:
            raise InvalidParameterError(
                f"{self._raster.address}: no way from its CRS to longitude and latitude: {str(error)[:200]}"
            ) from error
        return np.asarray(lon, np.float64), np.asarray(lat, np.float64)
