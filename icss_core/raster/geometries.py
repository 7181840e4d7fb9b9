"""Geometries of outlines: on the Earth, in coordinates of a map, or in pixels; with their areas."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from affine import Affine
from shapely.geometry import mapping

from icss_core.raster.antimeridian import cut, turned
from icss_core.raster.edges import Edges
from icss_core.raster.ellipsoid import ring_areas
from icss_core.raster.georeference import applied
from icss_core.raster.lon_lat import LONGITUDE_LATITUDE, LonLat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from icss_core.raster.outlines import Outlines
    from icss_core.raster.reader import Raster

Coordinates: TypeAlias = Literal["EPSG:4326", "map", "pixel"]
"""Longitude and latitude; x and y of the map's own transform; column and row."""
AREAS: Final[dict[Coordinates, str]] = {
    LONGITUDE_LATITUDE: "area_m2",
    "map": "area_map_units",
    "pixel": "area_pixels",
}
"""The property that has a region's area, by coordinates."""
_DECIMALS: Final = 10
"""Of longitudes and latitudes: a hundredth of a millimetre, in fewer bytes than all digits. What has been cut
keeps all, as it would not stay valid."""
_SLIVER: Final = 1e-3
"""Pixels: what the antimeridian cuts off is left out if it is smaller; it comes from rounding."""


class Placed(NamedTuple):
    """The regions that are large enough."""

    indices: NDArray[np.int64]
    areas: NDArray[np.float64]
    geometries: Iterable[dict[str, Any]]


def coordinates_of(raster: Raster) -> Coordinates:
    """In what the polygons of a map are given.

    "EPSG:4326" with a transform or ground control points in a CRS of the Earth; "map" with a transform in no
    CRS that is known, or in one that belongs to no place on Earth (of a site, an engine); "pixel" otherwise.
    """
    by_transform = raster.transform != Affine.identity()
    crs = raster.crs if by_transform else raster.gcps_crs or raster.crs
    if crs is not None and (crs.is_geographic or crs.is_projected) and (by_transform or raster.gcps):
        return LONGITUDE_LATITUDE
    return "map" if by_transform else "pixel"


def placement_of(raster: Raster, coordinates: Coordinates) -> Callable[[Outlines, float], Placed]:
    """What gives class indices, areas and geometries of the regions of at least some area."""
    if coordinates == LONGITUDE_LATITUDE:
        return _OnEarth(raster).placed
    to_plane = raster.transform if coordinates == "map" else Affine.identity()

    def in_plane(outlines: Outlines, min_area: float) -> Placed:
        rings = outlines.ring_areas()
        areas = outlines.of_regions(rings) * abs(to_plane.determinant)
        points = np.column_stack(applied(to_plane, outlines.points[:, 0], outlines.points[:, 1]))
        kept = np.flatnonzero(areas >= min_area)
        left = rings * to_plane.determinant > 0
        geometries = _polygons(replace(outlines, points=points), left, kept)
        return Placed(outlines.indices[kept], areas[kept], geometries)

    return in_plane


class _OnEarth:
    """Regions of one map in longitude and latitude."""

    def __init__(self, raster: Raster) -> None:
        self._place = LonLat(raster)
        self._edges = Edges(self._place, raster.height, raster.width)
        self._handed, self._pixel = self._middle_pixel(raster)

    def placed(self, outlines: Outlines, min_area: float) -> Placed:
        left = outlines.ring_areas() * self._handed > 0
        regions = turned(self._edges.placed(outlines), counts_on=self._place.counts_on)
        on_earth = regions.outlines
        areas = on_earth.of_regions(ring_areas(on_earth.points, on_earth.first_points))
        geometries: dict[int, dict[str, Any]] = {}
        for number in np.flatnonzero(~regions.is_whole):
            rings = range(on_earth.first_rings[number], on_earth.first_rings[number + 1])
            geometry = cut(
                [_ring(on_earth, ring, turns_left=bool(left[ring])) for ring in rings],
                [int(regions.turns[ring]) * (1 if left[ring] else -1) for ring in rings],
                smallest=_SLIVER * self._pixel,
            )
            geometries[int(number)] = {} if geometry is None else mapping(geometry)
            areas[number] = -1.0 if geometry is None else _area(geometry)
        kept = np.flatnonzero(areas >= min_area)
        rounded = replace(on_earth, points=np.round(on_earth.points, _DECIMALS))
        whole = iter(_polygons(rounded, left, kept[regions.is_whole[kept]]))
        made = [geometries[number] if number in geometries else next(whole) for number in kept.tolist()]
        return Placed(outlines.indices[kept], areas[kept], made)

    def _middle_pixel(self, raster: Raster) -> tuple[float, float]:
        """Whether rings keep their turn, 1 or -1, and how large a pixel is, in square degrees."""
        cols, rows = np.meshgrid(np.linspace(0, raster.width, 9)[:-1], np.linspace(0, raster.height, 9)[:-1])
        corners = np.column_stack([cols.ravel(), rows.ravel()])
        here, right, below = (self._place(corners + step) for step in ([0.0, 0.0], [0.5, 0.0], [0.0, 0.5]))
        across, down = self._place.difference(right, here), self._place.difference(below, here)
        sizes = 4 * (across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0])
        return float(np.sign(np.median(sizes))), float(np.median(np.abs(sizes)))


def _polygons(
    outlines: Outlines, left: NDArray[np.bool_], regions: NDArray[np.int64]
) -> Iterator[dict[str, Any]]:
    for region in regions:
        first, end = outlines.first_rings[region], outlines.first_rings[region + 1]
        rings = [
            _ring(outlines, ring, turns_left=(ring == first) == left[ring]) for ring in range(first, end)
        ]
        yield {"type": "Polygon", "coordinates": [ring.tolist() for ring in rings]}


def _ring(outlines: Outlines, ring: int, *, turns_left: bool) -> NDArray[np.float64]:
    """The points (n, 2) of a ring, the other way around unless `turns_left`."""
    points = outlines.points[outlines.first_points[ring] : outlines.first_points[ring + 1]]
    return points if turns_left else points[::-1]


def _area(geometry: Any) -> float:
    """Square metres of a polygon, or several, in longitude and latitude."""
    total = 0.0
    for part in getattr(geometry, "geoms", [geometry]):
        for ring in (part.exterior, *part.interiors):  # counter-clockwise and clockwise
            points = np.asarray(ring.coords)
            total += float(ring_areas(points, np.array([0, len(points)]))[0])
    return total
