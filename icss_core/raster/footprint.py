"""The part of the Earth that a raster covers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from icss_core.errors import InvalidParameterError
from icss_core.raster.antimeridian import cut
from icss_core.raster.geometries import coordinates_of
from icss_core.raster.lon_lat import LONGITUDE_LATITUDE, LonLat
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from shapely import MultiPolygon, Polygon

    from icss_core.raster.reader import Raster

_STEPS: Final = 16
"""Points on each side."""


def footprint(raster: Raster) -> Polygon | MultiPolygon | None:
    """The outline of a raster in longitude and latitude, with and without data.

    It is cut at the antimeridian, and goes up to a pole that lies inside (RFC 7946, 3.1.9).

    Args:
        raster: only its description is read.

    Returns:
        Polygons whose outer rings turn counter-clockwise; None where nobody knows where the raster lies.
    """
    if coordinates_of(raster) != LONGITUDE_LATITUDE:
        return None
    try:
        place = LonLat(raster)
        ring = place(Window(0, 0, raster.height, raster.width).outline(_STEPS))
        middle = place(np.array([[raster.width / 2, raster.height / 2]]))
    except InvalidParameterError:  # a corner is off the Earth, or the CRS leads nowhere
        return None
    ring[:, 0] = np.unwrap(ring[:, 0], period=360)
    turns = round((ring[-1, 0] - ring[0, 0]) / 360)
    if turns and (turns > 0) != (middle[0, 1] > 0):  # the pole inside is to be on the left
        ring, turns = ring[::-1], -turns
    return cut([ring], [turns], smallest=1e-12)
