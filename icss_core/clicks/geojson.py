"""Clicks as GeoJSON: points with a property `class`.

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
    AnnotationKind,
    coordinates_of,
    features_of,
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
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from icss_core.clicks.features import Feature
    from icss_core.labels import LabelSpace
    from icss_core.raster.reader import Raster
    from icss_core.raster.source import RasterSource

_CLICKS: Final = AnnotationKind("click", "clicks", ("Point",), "click at least one point")
_NAMED_AT_MOST: Final = 5
"""Clicks named in one message; a wrong CRS would otherwise name them all."""


class _Point(NamedTuple):
    named: str
    x: float
    y: float
    label: int


class _Placed(NamedTuple):
    """Names of the points and coordinates as given, (n,) each, and the pixels they fall into, (n,) each."""

    names: list[str]
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
    limit: int | None = None,
) -> ClickSet:
    """Clicks of a raster, every one of them on a pixel with data.

    Args:
        collection: parsed GeoJSON: a FeatureCollection, or a Feature. Each feature has a property `class`,
            the name of a class of the label space in any spelling, and a Point, a MultiPoint, every point of
            which is a click, or a GeometryCollection of these. Altitudes are ignored.
        raster: the raster clicked on. Without georeference only `crs="pixel"` works.
        label_space: the classes, the one to be added included.
        crs: what the coordinates are in: None for the collection's own `crs` member or else longitude and
            latitude; "pixel" for (column, row), fractions allowed; or what `parse_crs` reads ("EPSG:32631").
        limit: points that are accepted; None: any number.

    Returns:
        ClickSet with at least one click, in the order of the features; the last of several on a pixel wins.

    Raises:
        ClickError: not GeoJSON of points with classes, no point at all, a coordinate that is no finite
            number, or clicks off the raster or on pixels without data. The message names the feature and,
            of several, the point, both counted from 0, the coordinates, and what would be right. Also more
            points than `limit`.
        UnknownClassError: a class that the label space lacks; the message names the feature and the classes.
        InvalidParameterError: an unknown CRS, or map coordinates on a raster without georeference.
        ImageUnreadableError: the raster is damaged where the clicks are.
    """
    features = features_of(collection, _CLICKS)
    amount = sum(len(feature.parts) for feature in features)
    if limit is not None and amount > limit:
        raise ClickError(f"{amount} clicks; {limit} are accepted at once")
    points = [point for feature in features for point in _points(feature, label_space)]
    names = [point.named for point in points]
    system = system_of(collection, crs)
    xs, ys = np.array([point.x for point in points]), np.array([point.y for point in points])
    rows, cols = positions(raster, xs, ys, system, names=names)
    placed = _Placed(names, xs, ys, floored(rows), floored(cols))
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


def _points(feature: Feature, label_space: LabelSpace) -> Iterator[_Point]:
    places = [coordinates_of(part.named, part.coordinates) for part in feature.parts]
    label = label_of(feature, places[0], label_space)
    for part, (x, y) in zip(feature.parts, places, strict=True):
        yield _Point(part.named, x, y, label)


def _named(placed: _Placed, which: NDArray[np.bool_]) -> str:
    """The first few clicks of a mask, by feature, coordinates and pixel, and how many more there are."""
    chosen = np.flatnonzero(which)
    named = ", ".join(
        f"{placed.names[i]} at ({placed.xs[i]:.10g}, {placed.ys[i]:.10g}), "
        f"row {placed.rows[i]}, column {placed.cols[i]}"
        for i in chosen[:_NAMED_AT_MOST]
    )
    rest = len(chosen) - _NAMED_AT_MOST
    return f"{named} and {rest} more" if rest > 0 else named
