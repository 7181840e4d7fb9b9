"""Outlines of the classes in a class map, as GeoJSON."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from affine import Affine
from shapely.geometry import mapping

from icss_core.errors import BandMismatchError, InvalidParameterError, OutlinesTooLargeError
from icss_core.raster.antimeridian import cut, turned
from icss_core.raster.edges import Edges
from icss_core.raster.ellipsoid import ring_areas
from icss_core.raster.georeference import applied
from icss_core.raster.lon_lat import LONGITUDE_LATITUDE, LonLat
from icss_core.raster.outlines import Outlines, outlines_of
from icss_core.raster.reader import open_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from icss_core.labels import LabelSpace
    from icss_core.raster.reader import Raster

Coordinates: TypeAlias = Literal["EPSG:4326", "map", "pixel"]
"""Longitude and latitude; x and y of the map's own transform; column and row."""
AREAS: Final[dict[Coordinates, str]] = {
    LONGITUDE_LATITUDE: "area_m2",
    "map": "area_map_units",
    "pixel": "area_pixels",
}
"""The property that has a region's area, by coordinates."""
_SLIVER: Final = 1e-3
"""Pixels: what the antimeridian cuts off is left out if it is smaller; it comes from rounding."""

Feature: TypeAlias = dict[str, Any]


class Written(NamedTuple):
    """What `write_polygons` has written."""

    features: int
    bytes: int


class Placed(NamedTuple):
    """The regions that are large enough."""

    indices: NDArray[np.int64]
    areas: NDArray[np.float64]
    geometries: Iterable[dict[str, Any]]


def polygons(
    class_map: str | Path,
    label_space: LabelSpace,
    *,
    min_area: float = 0.0,
    include_background: bool = False,
) -> Iterator[Feature]:
    """Connected regions of one class (by edges, not corners) as GeoJSON features, one after another.

    Coordinates are longitude and latitude (RFC 7946), and areas those on the ellipsoid of WGS 84. Edges that
    are straight on the map and not there get points, so that they stay within a tenth of a pixel of it
    everywhere, and within a hundredth where they are measured.
    Regions across the antimeridian are cut there, those around a pole go up to it.

    Where nobody knows the way there, because the map has a transform without CRS, or a CRS of a site or a
    machine, coordinates are x and y of the map, and areas in its square units. A map that lies nowhere has
    pixels: column and row. See `coordinates_of`.

    Memory is bounded by `MAX_CORNERS`: GDAL goes through the map line by line but keeps all outlines, whose
    corners are therefore counted first. A thousand of them at a time become features.

    Args:
        class_map: address of a map as `CogSink` writes it; its band 1 is taken.
        label_space: names and colours by index.
        min_area: regions smaller than this are left out; in square metres, or as the areas are.
        include_background: whether the background has outlines too.

    Yields:
        Features with the properties `class`, `index`, `colour` ("#rrggbb"), and `area_m2`,
        `area_map_units` or `area_pixels`; outer rings turn counter-clockwise.

    Raises:
        ImageNotFoundError, ImageUnreadableError: the map cannot be read.
        BandMismatchError: it is no uint8 map.
        OutlinesTooLargeError: the outlines have more than `MAX_CORNERS` corners.
        InvalidParameterError: `min_area` is negative, no way leads from the map's CRS to EPSG:4326, its
            transform has no inverse, or a value of the map is not in the label space.
    """
    with _opened(class_map, min_area) as raster:
        coordinates = coordinates_of(raster)
        place = _placement(raster, coordinates)
        for outlines in outlines_of(raster, label_space, include_background=include_background):
            indices, areas, geometries = place(outlines, min_area)
            for index, area, geometry in zip(indices.tolist(), areas.tolist(), geometries, strict=True):
                info = label_space.classes[index]
                properties = {
                    "class": info.name,
                    "index": index,
                    "colour": "#{:02x}{:02x}{:02x}".format(*info.colour),
                    AREAS[coordinates]: area,
                }
                yield {"type": "Feature", "geometry": geometry, "properties": properties}


def write_polygons(
    file: IO[bytes],
    class_map: str | Path,
    label_space: LabelSpace,
    *,
    min_area: float = 0.0,
    include_background: bool = False,
    max_bytes: int | None = None,
) -> Written:
    """Write the features of `polygons` to a stream as one FeatureCollection (UTF-8), feature by feature.

    Its member `coordinates` says what those are: "EPSG:4326", "map" or "pixel"; see `coordinates_of`.

    Args:
        file: where to; written from its present position on.
        class_map: as for `polygons`.
        label_space: as for `polygons`.
        min_area: as for `polygons`.
        include_background: as for `polygons`.
        max_bytes: the collection may have no more; None: any number.

    Raises:
        InvalidParameterError: the stream is the file of the map, or as `polygons`.
        OutlinesTooLargeError: more than `max_bytes`, of which at most so many were written, or as `polygons`.
        IcssError: as `polygons`.
    """
    with _opened(class_map, min_area) as raster:
        _check_stream(file, raster)
        coordinates = coordinates_of(raster)
    end = b"\n]}\n"
    head = f'{{"type": "FeatureCollection", "coordinates": "{coordinates}", "features": ['.encode()
    size = file.write(head) + len(end)
    count = 0
    features = polygons(class_map, label_space, min_area=min_area, include_background=include_background)
    for feature in features:
        line = (b",\n" if count else b"\n") + json.dumps(feature, ensure_ascii=False).encode()
        size += len(line)
        if max_bytes is not None and size > max_bytes:
            raise OutlinesTooLargeError(
                f"the outlines of {class_map} take more than {max_bytes} bytes (the first {count} fit); "
                "leave out small ones with min_area, or take the map itself"
            )
        file.write(line)
        count += 1
    file.write(end)
    return Written(features=count, bytes=size)


def _opened(class_map: str | Path, min_area: float) -> Raster:
    if not min_area >= 0:  # NaN is not
        raise InvalidParameterError(f"min_area must not be negative, it is {min_area}")
    raster = open_mask(class_map)
    if raster.dtype != "uint8":
        raster.close()
        raise BandMismatchError(f"{raster.address} is {raster.dtype}, not a class map (uint8)")
    return raster


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


def _check_stream(file: IO[bytes], raster: Raster) -> None:
    """Raises where polygons would go into the map that they are made of."""
    dataset = raster.gdal_band().ds
    try:
        same = os.path.samestat(os.fstat(file.fileno()), Path(dataset.name).stat())
    except OSError:  # one of the two is no file of this machine
        return
    if same:
        raise InvalidParameterError(f"{raster.address} is the map; its polygons go into another file")


def _placement(raster: Raster, coordinates: Coordinates) -> Callable[[Outlines, float], Placed]:
    """What gives class indices, areas and geometries of the regions of at least some area."""
    if coordinates == LONGITUDE_LATITUDE:
        return _OnEarth(raster).placed
    transform = raster.transform if coordinates == "map" else Affine.identity()

    def in_plane(outlines: Outlines, min_area: float) -> Placed:
        rings = outlines.ring_areas()
        areas = outlines.of_regions(rings) * abs(transform.determinant)
        points = np.column_stack(applied(transform, outlines.points[:, 0], outlines.points[:, 1]))
        kept = np.flatnonzero(areas >= min_area)
        left = rings * transform.determinant > 0
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
        whole = iter(_polygons(on_earth, left, kept[regions.is_whole[kept]]))
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
