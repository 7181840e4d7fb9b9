"""Areas on the ellipsoid of WGS 84 of rings whose edges are straight in longitude and latitude."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EQUATOR: Final = 6_378_137.0
_FLATTENING: Final = 1 / 298.257223563
_ECCENTRICITY: Final = (_FLATTENING * (2 - _FLATTENING)) ** 0.5
_LONG: Final = 0.5
"""Degrees of latitude over which two points of an edge are enough for its integral: one part in 10^12."""


def strip_area(latitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square metres from the equator to a latitude, for each radian of longitude; negative in the south.

    Snyder, Map Projections: A Working Manual, USGS 1395 (1987), equation 3-12: half of `q`, times the square
    of the equatorial radius.

    Args:
        latitude: of any shape, degrees.
    """
    sine = np.sin(np.radians(latitude))
    e = _ECCENTRICITY
    q = (1 - e**2) * (sine / (1 - (e * sine) ** 2) + np.arctanh(e * sine) / e)
    area: NDArray[np.float64] = _EQUATOR**2 / 2 * q
    return area


def ring_areas(points: NDArray[np.float64], first_points: NDArray[np.int64]) -> NDArray[np.float64]:
    """Signed areas (rings,) in square metres; positive where a ring turns counter-clockwise.

    The integral of `strip_area` over the longitude, along each edge. So edges are straight lines in longitude
    and latitude, as GeoJSON has them, and a parallel is a parallel; no geodesics.

    Args:
        points: (points, 2) longitude and latitude, degrees; longitudes go on beyond 180 within a ring, and a
            ring ends where it starts.
        first_points: (rings + 1,) where each ring starts.
    """
    start, end = points[:-1], points[1:]
    along = np.radians(end[:, 0] - start[:, 0])
    rise = end[:, 1] - start[:, 1]
    long = np.abs(rise) > _LONG
    mean = np.empty(len(along))
    for which, order in ((long, 24), (~long, 2)):
        nodes, weights = np.polynomial.legendre.leggauss(order)
        latitudes = start[which, 1, None] + rise[which, None] * (nodes + 1) / 2
        mean[which] = strip_area(latitudes) @ weights / 2
    terms = np.append(-along * mean, 0.0)
    terms[first_points[1:] - 1] = 0  # between rings
    areas: NDArray[np.float64] = np.add.reduceat(terms, first_points[:-1])
    return areas
