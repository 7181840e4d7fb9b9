"""Outlines of the classes in a class map, as GeoJSON."""

from __future__ import annotations

import json
from functools import partial
from itertools import islice
from math import hypot
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
import rasterio.features
from affine import Affine
from pyproj import Geod
from rasterio._err import CPLE_BaseError
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform_geom
from shapely import segmentize
from shapely import transform as transform_coordinates
from shapely.geometry import MultiPolygon, Polygon, mapping, shape
from shapely.geometry.polygon import orient

from icss_core.errors import BandMismatchError, InvalidParameterError, OutlinesTooLargeError
from icss_core.labels import BACKGROUND, IGNORE
from icss_core.raster.environment import gdal_ready
from icss_core.raster.georeference import applied, pixel_corner_to_map, raster_crs
from icss_core.raster.reader import open_mask
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from rasterio.crs import CRS

    from icss_core.labels import LabelSpace
    from icss_core.raster.reader import Raster

LONGITUDE_LATITUDE: Final = "EPSG:4326"
MAX_CORNERS: Final = 8_000_000
"""Of all outlines of a map: GDAL has them in memory at once before the first is given back, up to some GB."""
_TOGETHER: Final = 1000
_EDGE: Final = 64
"""Pixels: longest edge that goes to longitude and latitude in one piece. A straight line of a map bends by
its length squared over 8 radii of the Earth there: less than a pixel for pixels up to 10 km."""
_STRIP: Final = 512
"""Rows read at a time to count corners."""
_ELLIPSOID: Final = Geod(ellps="WGS84")

Feature: TypeAlias = dict[str, Any]


class Written(NamedTuple):
    """What `write_polygons` has written."""

    features: int
    bytes: int


def polygons(
    class_map: str | Path,
    label_space: LabelSpace,
    *,
    min_area: float = 0.0,
    include_background: bool = False,
) -> Iterator[Feature]:
    """Connected regions of one class (by edges, not corners) as GeoJSON features, one after another.

    Coordinates are longitude and latitude (RFC 7946; polygons across the antimeridian are cut there) and
    areas geodesic on WGS 84. Long straight edges of the map come in pieces, as they are not straight there.
    If the map has no CRS, coordinates are pixels (col, row) and areas are in pixels.

    Memory is bounded by `MAX_CORNERS`: GDAL goes through the map line by line but keeps all outlines, whose
    corners are therefore counted first. A thousand of them at a time become features.

    Args:
        class_map: address of a map as `CogSink` writes it; its band 1 is taken.
        label_space: names and colours by index.
        min_area: regions smaller than this are left out; square metres, or pixels without georeference.
        include_background: whether the background has outlines too.

    Yields:
        Features with the properties `class`, `index`, `colour` ("#rrggbb"), and `area_m2` or `area_pixels`;
        outer rings turn counter-clockwise.

    Raises:
        ImageNotFoundError, ImageUnreadableError: the map cannot be read.
        BandMismatchError: it is no uint8 map.
        OutlinesTooLargeError: the outlines have more than `MAX_CORNERS` corners.
        InvalidParameterError: `min_area` is negative, the map's CRS has no way to EPSG:4326, or a value of
            the map is not in the label space.
    """
    with _opened(class_map, min_area) as raster:
        crs = _system(raster)
        unit = "area_pixels" if crs is None else "area_m2"
        for several in _in_lists(_regions(raster, label_space, include_background=include_background)):
            for feature in _features(raster, several, crs, label_space):
                if feature["properties"][unit] >= min_area:
                    yield feature


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

    Its member `coordinates` says what those are: "EPSG:4326", or "pixel" for a map without georeference.

    Args:
        file: where to; written from its present position on.
        class_map: as for `polygons`.
        label_space: as for `polygons`.
        min_area: as for `polygons`.
        include_background: as for `polygons`.
        max_bytes: the collection may have no more; None: any number.

    Raises:
        OutlinesTooLargeError: more than `max_bytes`, of which at most so many were written, or as `polygons`.
        IcssError: as `polygons`.
    """
    with _opened(class_map, min_area) as raster:
        coordinates = "pixel" if _system(raster) is None else LONGITUDE_LATITUDE
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


def _system(raster: Raster) -> CRS | None:
    """The CRS of the map; None if it has none, so that only pixel coordinates can be given."""
    placed_by_points = raster.transform == Affine.identity()
    if placed_by_points and not raster.gcps:
        return None
    own = (raster.gcps_crs or raster.crs) if placed_by_points else raster.crs
    return None if own is None else raster_crs(raster)


def _check_corners(raster: Raster) -> None:
    """Raises where outlines have more corners than memory is meant for; reads the map once, in strips.

    A corner is a point where the four pixels around it are neither alike in both rows nor in both columns.
    """
    count = 0
    for top in range(0, raster.height, _STRIP):
        rows = min(_STRIP + 1, raster.height - top)
        labels = raster.read(Window(top, 0, rows, raster.width)).values[0]
        across, down = labels[:, 1:] == labels[:, :-1], labels[1:] == labels[:-1]
        straight = (across[1:] & across[:-1]) | (down[:, 1:] & down[:, :-1])
        count += straight.size - int(np.count_nonzero(straight))
        if count > MAX_CORNERS:
            raise OutlinesTooLargeError(
                f"the outlines of {raster.address} have more than {MAX_CORNERS} corners; take the map itself"
            )


def _regions(
    raster: Raster, label_space: LabelSpace, *, include_background: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Class index and outline of every region with data.

    GDAL gives map coordinates where the raster has a transform, else pixel coordinates (col, row).
    """
    _check_corners(raster)
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
    shapes = [shape(outline) for _, outline in regions]
    if crs is not None:
        shapes = _on_earth(raster, shapes, crs)
    elif raster.transform != Affine.identity():
        shapes = [transform_coordinates(one, partial(_to_pixels, ~raster.transform)) for one in shapes]
    for (index, _), outline in zip(regions, shapes, strict=True):
        info = label_space.classes[index]
        properties: dict[str, Any] = {
            "class": info.name,
            "index": index,
            "colour": "#{:02x}{:02x}{:02x}".format(*info.colour),
        }
        geometry = _oriented(outline)
        if crs is None:
            properties["area_pixels"] = geometry.area
        else:  # Karney 2013, as in GeographicLib; positive as the rings turn
            properties["area_m2"] = float(_ELLIPSOID.geometry_area_perimeter(geometry)[0])
        yield {"type": "Feature", "geometry": mapping(geometry), "properties": properties}


def _on_earth(raster: Raster, outlines: list[Polygon], crs: CRS) -> list[Polygon | MultiPolygon]:
    """Outlines in longitude and latitude, cut at the antimeridian."""
    by_points = raster.transform == Affine.identity()
    pixel = 1.0 if by_points else min(hypot(*raster.transform[0::3]), hypot(*raster.transform[1::3]))
    pieces = list(segmentize(outlines, _EDGE * pixel))
    if by_points:
        pieces = [transform_coordinates(piece, partial(_by_points, raster)) for piece in pieces]
    try:
        with gdal_ready():
            return [shape(one) for one in transform_geom(crs, LONGITUDE_LATITUDE, list(map(mapping, pieces)))]
    except (RasterioError, CRSError, CPLE_BaseError) as error:
        raise InvalidParameterError(
            f"{raster.address}: no way from its CRS to longitude and latitude: {str(error)[:200]}"
        ) from error


def _by_points(raster: Raster, corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixel coordinates (n, 2) of col and row, placed by the raster's ground control points."""
    x, y = pixel_corner_to_map(raster, corners[:, 1], corners[:, 0])
    return np.column_stack([x, y])


def _to_pixels(inverse: Affine, corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map coordinates (n, 2) of corners of pixels as whole cols and rows."""
    cols, rows = applied(inverse, corners[:, 0], corners[:, 1])
    pixels: NDArray[np.float64] = np.rint(np.column_stack([cols, rows]))
    return pixels


def _oriented(outline: Polygon | MultiPolygon) -> Polygon | MultiPolygon:
    """With outer rings counter-clockwise and holes clockwise, as RFC 7946 asks."""
    if isinstance(outline, MultiPolygon):
        return MultiPolygon([orient(part) for part in outline.geoms])
    return orient(outline)


def _in_lists(regions: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Regions a thousand at a time: a coordinate transformation costs far more to set up than to use."""
    while several := list(islice(regions, _TOGETHER)):
        yield several
