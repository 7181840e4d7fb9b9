"""Clicks as GeoJSON: a FeatureCollection of Points with a property `class`.

Coordinates are longitude and latitude (RFC 7946), or those of any CRS named by the caller, or pixels said
explicitly. The `crs` member of GeoJSON from before RFC 7946, which desktop GIS still write, is honoured
where the caller names none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from icss_core.clicks.click_set import ClickSet
from icss_core.clicks.features import (
    LON_LAT,
    PIXEL,
    Kind,
    coordinates_of,
    features_of,
    geometry_of,
    georeferenced,
    label_of,
    off_raster,
    positions,
    system_of,
)
from icss_core.clicks.placement import on_data, on_raster
from icss_core.errors import ClickError
from icss_core.raster.georeference import floored, pixel_to_map

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from icss_core.labels import LabelSpace
    from icss_core.raster.reader import Raster
    from icss_core.raster.source import RasterSource

_CLICKS: Final = Kind("click", "clicks", ("Point",), "click at least one point")
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
    points = [
        _point(index, feature, label_space) for index, feature in enumerate(features_of(collection, _CLICKS))
    ]
    system = system_of(collection, crs)
    xs, ys = np.array([point.x for point in points]), np.array([point.y for point in points])
    rows, cols = positions(raster, xs, ys, system)
    placed = _Placed(xs, ys, floored(rows), floored(cols))
    inside = on_raster(placed.rows, placed.cols, raster)
    if not inside.all():
        raise ClickError(off_raster(raster, _named(placed, ~inside), (xs[~inside], ys[~inside]), system))
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
        xs, ys = pixel_to_map(georeferenced(raster), clicks.rows, clicks.cols, system)
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


def _point(index: int, feature: object, label_space: LabelSpace) -> _Point:
    _, coordinates, properties = geometry_of(index, feature, _CLICKS)
    x, y = coordinates_of(index, coordinates)
    return _Point(x, y, label_of(index, (x, y), properties, label_space))


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
