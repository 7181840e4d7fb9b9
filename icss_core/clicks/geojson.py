"""Clicks as GeoJSON: a FeatureCollection of Points with a property `class`.

Coordinates are longitude and latitude (RFC 7946), or those of any CRS named by the caller, or pixels said
explicitly. The `crs` member of GeoJSON from before RFC 7946, which desktop GIS still write, is honoured
where the caller names none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from icss_core.clicks.click_set import ClickSet
from icss_core.clicks.placement import on_data, on_raster
from icss_core.errors import ClickError, InvalidParameterError, UnknownClassError
from icss_core.raster.georeference import map_to_pixel, pixel_to_map
from icss_core.raster.reader import Raster

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from icss_core.labels import LabelSpace
    from icss_core.raster.source import RasterSource

LON_LAT: Final = "EPSG:4326"
"""Coordinates of GeoJSON unless said otherwise: longitude, latitude."""
PIXEL: Final = "pixel"
"""Instead of a CRS: coordinates are (column, row) of the raster, pixel (0, 0) reaching from 0 to 1."""

_NAMED_AT_MOST: Final = 5
"""Clicks named in one message; a wrong CRS would otherwise name them all."""


class _Point(NamedTuple):
    x: float
    y: float
    label: int


class _Placed(NamedTuple):
    """Coordinates as given, (n,) each, and the pixels they fall into, (n,) each."""

    xs: NDArray[np.float64]
    ys: NDArray[np.float64]
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]


def clicks_from_geojson(
    collection: Mapping[str, Any],
    raster: Raster | RasterSource,
    label_space: LabelSpace,
    *,
    crs: str | None = None,
) -> ClickSet:
    """Clicks of a raster, every one of them on a pixel with data.

    Args:
        collection: a parsed GeoJSON FeatureCollection of Points. Each has a property `class`, the name of
            a class of the label space (case does not count); a third coordinate (altitude) is ignored.
        raster: the raster clicked on. Without georeference only `crs="pixel"` works.
        label_space: the classes, the one to be added included.
        crs: what the coordinates are in: None for the collection's own `crs` member or else longitude and
            latitude; "pixel" for (column, row), fractions allowed; anything else rasterio understands
            ("EPSG:32631").

    Returns:
        ClickSet with at least one click, in the order of the features; the last of several on a pixel wins.

    Raises:
        ClickError: not a FeatureCollection of Points with classes, no feature at all, a coordinate that is no
            finite number, or clicks off the raster or on pixels without data. The message names the feature
            by its position, counted from 0, its coordinates, and what would be right.
        UnknownClassError: a class that the label space lacks; the message names the feature and the classes.
        InvalidParameterError: an unknown CRS, or map coordinates on a raster without georeference.
        ImageUnreadableError: the raster is damaged where the clicks are.
    """
    points = [_point(index, feature, label_space) for index, feature in enumerate(_features(collection))]
    system = crs or _crs_member(collection) or LON_LAT
    xs, ys = np.array([point.x for point in points]), np.array([point.y for point in points])
    placed = _Placed(xs, ys, *_pixels(raster, xs, ys, system))
    inside = on_raster(placed.rows, placed.cols, raster)
    if not inside.all():
        raise ClickError(_off_raster(raster, placed, ~inside, system))
    valid = on_data(placed.rows, placed.cols, raster)
    if not valid.all():
        raise ClickError(f"on pixels without data: {_named(placed, ~valid)}; click where the image has data")
    return ClickSet(placed.rows, placed.cols, np.array([point.label for point in points], np.int64))


def clicks_to_geojson(
    clicks: ClickSet, raster: Raster | RasterSource, label_space: LabelSpace, *, crs: str | None = None
) -> dict[str, Any]:
    """A FeatureCollection with a Point at the centre of each clicked pixel; `clicks_from_geojson` undoes it.

    Args:
        clicks: clicks of the raster, labels within the label space.
        raster: the raster clicked on.
        label_space: gives the names of the classes.
        crs: None for longitude and latitude, "pixel" for (column, row), or any CRS; one other than
            longitude and latitude is also written as the collection's `crs` member.

    Raises:
        ClickError: a label is outside the label space.
        InvalidParameterError: an unknown CRS, or none on a raster without georeference.
    """
    if len(clicks) and int(clicks.labels.max()) >= len(label_space):
        raise ClickError(
            f"label {int(clicks.labels.max())} is outside the label space {list(label_space.names)}"
        )
    system = crs or LON_LAT
    if system == PIXEL:
        xs, ys = clicks.cols + 0.5, clicks.rows + 0.5
    else:
        xs, ys = pixel_to_map(_georeferenced(raster), clicks.rows, clicks.cols, system)
    names = label_space.names
    collection: dict[str, Any] = {"type": "FeatureCollection"}
    if system not in (LON_LAT, PIXEL):
        collection["crs"] = {"type": "name", "properties": {"name": system}}
    collection["features"] = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [float(x), float(y)]},
            "properties": {"class": names[label]},
        }
        for x, y, label in zip(xs, ys, clicks.labels, strict=True)
    ]
    return collection


def _features(collection: Mapping[str, Any]) -> Sequence[Any]:
    if not isinstance(collection, Mapping) or collection.get("type") != "FeatureCollection":
        kind = collection.get("type") if isinstance(collection, Mapping) else type(collection).__name__
        raise ClickError(f"clicks must be a GeoJSON FeatureCollection of Points, not {kind!r}")
    features = collection.get("features")
    if not isinstance(features, Sequence) or isinstance(features, str):
        raise ClickError("the FeatureCollection has no list of features")
    if not features:
        raise ClickError("no click at all: the FeatureCollection is empty; click at least one point")
    return features


def _point(index: int, feature: object, label_space: LabelSpace) -> _Point:
    geometry = feature.get("geometry") if isinstance(feature, Mapping) else None
    if not isinstance(feature, Mapping) or not isinstance(geometry, Mapping):
        raise ClickError(
            f"feature {index}: a Feature with a geometry of type Point is needed, not {feature!r:.80}"
        )
    if geometry.get("type") != "Point":
        raise ClickError(f"feature {index}: its geometry is a {geometry.get('type')!r}; clicks are Points")
    x, y = _coordinates(index, geometry.get("coordinates"))
    properties = feature.get("properties")
    name = properties.get("class") if isinstance(properties, Mapping) else None
    if not isinstance(name, str) or not name:
        raise ClickError(
            f"feature {index} at ({x}, {y}): it needs a property 'class' with the name of one of "
            f"{list(label_space.names)}, not {name!r}"
        )
    try:
        return _Point(x, y, label_space.index(name))
    except UnknownClassError as error:
        raise UnknownClassError(f"feature {index} at ({x}, {y}): {error}") from error


def _coordinates(index: int, values: object) -> tuple[float, float]:
    numbers = isinstance(values, Sequence) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )
    if not numbers or not isinstance(values, Sequence) or len(values) not in (2, 3):
        raise ClickError(f"feature {index}: coordinates must be two numbers [x, y], not {values!r:.80}")
    x, y = float(values[0]), float(values[1])
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ClickError(f"feature {index}: coordinates must be finite numbers, not [{x}, {y}]")
    return x, y


def _crs_member(collection: Mapping[str, Any]) -> str | None:
    """The name in a `crs` member; null or no member is None."""
    member = collection.get("crs")
    if member is None:
        return None
    properties = member.get("properties") if isinstance(member, Mapping) else None
    name = properties.get("name") if isinstance(properties, Mapping) else None
    if not isinstance(name, str):
        raise ClickError(f"the crs member names no CRS: {member!r:.80}; leave it out or name one")
    return name


def _pixels(
    raster: Raster | RasterSource, xs: NDArray[np.float64], ys: NDArray[np.float64], system: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns, which may be off the raster."""
    if system == PIXEL:
        limit = float(2**62)  # far off any raster, and exact as int64
        rows, cols = (np.clip(np.floor(values), -limit, limit).astype(np.int64) for values in (ys, xs))
        return rows, cols
    if system == LON_LAT:
        # 360: rasters across the antimeridian may count on; the projection of more than that is meaningless
        impossible = np.flatnonzero((abs(xs) > 360) | (abs(ys) > 90))
        if len(impossible):
            first = impossible[0]
            raise ClickError(
                f"feature {first} at ({xs[first]:.10g}, {ys[first]:.10g}) is no longitude and latitude; "
                f'name the CRS the coordinates are in, or crs="{PIXEL}" for (column, row)'
            )
    try:
        return map_to_pixel(_georeferenced(raster), xs, ys, system)
    except ClickError as error:  # its "point" is the position of our feature
        raise ClickError(f"the features cannot be placed on the raster: {error}") from error


def _georeferenced(raster: Raster | RasterSource) -> Raster:
    if not isinstance(raster, Raster):
        raise InvalidParameterError(
            f'this image is an array without georeference; give pixel coordinates with crs="{PIXEL}"'
        )
    return raster


def _off_raster(
    raster: Raster | RasterSource, placed: _Placed, outside: NDArray[np.bool_], system: str
) -> str:
    """The message for clicks off the raster, with the likely cause where one can be told."""
    message = (
        f"off the raster of {raster.height} rows and {raster.width} columns: {_named(placed, outside)}; "
        f"the coordinates were taken as {'(column, row)' if system == PIXEL else system}"
    )
    if system == LON_LAT and _swapped(raster, placed.xs[outside], placed.ys[outside]):
        return f"{message}; latitude and longitude look swapped, longitude comes first"
    return message


def _swapped(raster: Raster | RasterSource, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> bool:
    """The points would all be on the raster if x were the latitude and y the longitude."""
    try:
        return bool(on_raster(*_pixels(raster, ys, xs, LON_LAT), raster).all())
    except ClickError:
        return False


def _named(placed: _Placed, which: NDArray[np.bool_]) -> str:
    """The first few clicks of a mask, by feature, coordinates and pixel, and how many more there are."""
    positions = np.flatnonzero(which)
    named = ", ".join(
        f"feature {i} at ({placed.xs[i]:.10g}, {placed.ys[i]:.10g}), "
        f"row {placed.rows[i]}, column {placed.cols[i]}"
        for i in positions[:_NAMED_AT_MOST]
    )
    rest = len(positions) - _NAMED_AT_MOST
    return f"{named} and {rest} more" if rest > 0 else named
