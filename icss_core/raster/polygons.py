"""Outlines of the classes in a class map, as GeoJSON."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import rasterio.features
from affine import Affine
from pyproj import Geod
from rasterio._err import CPLE_BaseError
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform_geom

from icss_core.errors import BandMismatchError, InvalidParameterError
from icss_core.labels import BACKGROUND, IGNORE
from icss_core.raster.environment import gdal_ready
from icss_core.raster.georeference import pixel_corner_to_map, raster_crs
from icss_core.raster.reader import open_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rasterio.crs import CRS

    from icss_core.labels import LabelSpace
    from icss_core.raster.reader import Raster

LONGITUDE_LATITUDE: Final = "EPSG:4326"
_TOGETHER: Final = 1000
_ELLIPSOID: Final = Geod(ellps="WGS84")

Ring: TypeAlias = list[tuple[float, float]]


def polygons(
    class_map: str | Path,
    label_space: LabelSpace,
    *,
    min_area: float = 0.0,
    include_background: bool = False,
) -> dict[str, Any]:
    """Connected regions of one class (by edges, not corners) as a GeoJSON FeatureCollection.

    GDAL goes through the map line by line, so what takes memory are the polygons. Coordinates are longitude
    and latitude (RFC 7946; polygons across the antimeridian are cut there) and areas geodesic on WGS 84. A
    map without georeference gives pixel coordinates (col, row) and areas in pixels; the collection says
    which in its member `coordinates`: "EPSG:4326" or "pixel".

    Args:
        class_map: address of a map as `CogSink` writes it; its band 1 is taken.
        label_space: names and colours by index.
        min_area: regions smaller than this are left out; square metres, or pixels without georeference.
        include_background: whether the background has outlines too.

    Returns:
        A FeatureCollection; each feature has the properties `class`, `index`, `colour` ("#rrggbb"), and
        `area_m2` or `area_pixels`.

    Raises:
        ImageNotFoundError, ImageUnreadableError: the map cannot be read.
        BandMismatchError: it is no uint8 map.
        InvalidParameterError: `min_area` is negative, the map's CRS has no way to EPSG:4326, or a value of
            the map is not in the label space.
    """
    if min_area < 0:
        raise InvalidParameterError(f"min_area must not be negative, it is {min_area}")
    with open_mask(class_map) as raster:
        if raster.dtype != "uint8":
            raise BandMismatchError(f"{raster.address} is {raster.dtype}, not a class map (uint8)")
        on_map = raster.transform != Affine.identity() or bool(raster.gcps)
        crs = raster_crs(raster) if on_map else None
        regions = _regions(raster, label_space, include_background=include_background)
        features = [
            feature
            for several in _in_lists(regions)
            for feature in _features(raster, several, crs, label_space)
            if feature["properties"]["area_pixels" if crs is None else "area_m2"] >= min_area
        ]
    return {
        "type": "FeatureCollection",
        "coordinates": "pixel" if crs is None else LONGITUDE_LATITUDE,
        "features": features,
    }


def _regions(
    raster: Raster, label_space: LabelSpace, *, include_background: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Class index and outline of every region with data.

    GDAL gives map coordinates where the raster has a transform, else pixel coordinates (col, row).
    """
    with gdal_ready():
        for outline, value in rasterio.features.shapes(raster.gdal_band()):
            index = int(value)
            if index == IGNORE or (index == BACKGROUND and not include_background):
                continue
            if index >= len(label_space):
                raise InvalidParameterError(
                    f"{raster.address} has the value {index}, the label space only {len(label_space)} classes"
                )
            yield index, outline


def _features(
    raster: Raster, regions: list[tuple[int, dict[str, Any]]], crs: CRS | None, label_space: LabelSpace
) -> Iterator[dict[str, Any]]:
    outlines = [outline for _, outline in regions]
    if crs is None:
        unit, ring_area = "area_pixels", _plane_area
    else:
        unit, ring_area = "area_m2", _geodesic_area
        outlines = _on_earth(raster, outlines, crs)
    for (index, _), outline in zip(regions, outlines, strict=True):
        info = label_space.classes[index]
        properties: dict[str, Any] = {
            "class": info.name,
            "index": index,
            "colour": "#{:02x}{:02x}{:02x}".format(*info.colour),
        }
        geometry, properties[unit] = _oriented(outline, ring_area)
        yield {"type": "Feature", "geometry": geometry, "properties": properties}


def _on_earth(raster: Raster, outlines: list[dict[str, Any]], crs: CRS) -> list[dict[str, Any]]:
    """Outlines in longitude and latitude, cut at the antimeridian."""
    if raster.transform == Affine.identity():
        outlines = [
            {"type": "Polygon", "coordinates": [_ring_by_points(raster, ring) for ring in rings]}
            for rings in (outline["coordinates"] for outline in outlines)
        ]
    try:
        with gdal_ready():
            return list(transform_geom(crs, LONGITUDE_LATITUDE, outlines))
    except (RasterioError, CRSError, CPLE_BaseError) as error:
        raise InvalidParameterError(
            f"{raster.address}: no way from its CRS to longitude and latitude: {str(error)[:200]}"
        ) from error


def _ring_by_points(raster: Raster, ring: Ring) -> Ring:
    """A ring of pixel coordinates (col, row), placed by the raster's ground control points."""
    corners = np.asarray(ring, np.float64)
    x, y = pixel_corner_to_map(raster, corners[:, 1], corners[:, 0])
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _oriented(outline: dict[str, Any], ring_area: Callable[[Ring], float]) -> tuple[dict[str, Any], float]:
    """The geometry with outer rings counter-clockwise and holes clockwise, as RFC 7946 asks, and its area.

    Args:
        outline: a Polygon or MultiPolygon.
        ring_area: signed, positive for counter-clockwise rings.
    """
    several = outline["type"] == "MultiPolygon"
    polygons_of_rings = []
    total = 0.0
    for rings in outline["coordinates"] if several else [outline["coordinates"]]:
        turned = []
        for position, ring in enumerate(rings):
            area = ring_area(ring)
            outer = position == 0
            turned.append(ring if (area > 0) == outer else ring[::-1])
            total += abs(area) if outer else -abs(area)
        polygons_of_rings.append(turned)
    return {
        "type": outline["type"],
        "coordinates": polygons_of_rings if several else polygons_of_rings[0],
    }, total


def _geodesic_area(ring: Ring) -> float:
    """Signed square metres on the WGS 84 ellipsoid (Karney 2013, as in GeographicLib)."""
    longitudes, latitudes = zip(*ring, strict=True)
    return float(_ELLIPSOID.polygon_area_perimeter(longitudes, latitudes)[0])


def _plane_area(ring: Ring) -> float:
    """Signed area in units of the coordinates, by the shoelace formula."""
    x, y = np.asarray(ring, np.float64).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def _in_lists(regions: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Regions a thousand at a time: a coordinate transformation costs far more to set up than to use."""
    while several := list(islice(regions, _TOGETHER)):
        yield several
