"""Scribbles as GeoJSON: lines and points with a property `class`, as a mask of few labels.

Coordinates are those of clicks (`icss_core.clicks.geojson`): longitude and latitude, or any CRS named by the
caller or the file, or pixels. Between its corners a line is straight on the raster, whatever the CRS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from icss_core.clicks.features import (
    AnnotationKind,
    coordinates_of,
    features_of,
    label_of,
    off_raster,
    positions,
    system_of,
)
from icss_core.clicks.placement import on_data
from icss_core.errors import ClickError
from icss_core.labels import IGNORE
from icss_core.raster.lines import line_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from icss_core.clicks.features import Feature, Part
    from icss_core.labels import LabelSpace
    from icss_core.raster.reader import Raster
    from icss_core.raster.source import RasterSource

_SCRIBBLES: Final = AnnotationKind("scribble", "scribbles", ("LineString", "Point"), "draw at least one line")
_WIDTH: Final = 3.0
"""Pixels; that of ScribbleSup's lines as they are used elsewhere here."""
_WIDEST: Final = 1000.0
_FARTHEST: Final = 1e9
"""Pixels; nobody draws a line from there to the raster, but a wrong CRS does."""


class _Scribble(NamedTuple):
    named: str
    lines: list[NDArray[np.float64]]
    """(n, 2) x and y as given; a Point is a line of one position."""
    label: int
    width: float


def scribbles_from_geojson(
    collection: Mapping[str, Any],
    raster: Raster | RasterSource,
    label_space: LabelSpace,
    *,
    crs: str | None = None,
    width: float = _WIDTH,
) -> NDArray[np.uint8]:
    """Lines and points drawn on a raster as a mask.

    A pixel belongs to a line if its centre is at most half the line's width away from it, or a corner or end
    of the line lies in it. A Point is the pixel that it lies in. What of a line is off the raster or on
    pixels without data is left out.

    Args:
        collection: parsed GeoJSON: a FeatureCollection, or a Feature. Each feature has a property `class`,
            the name of a class of the label space in any spelling, may have a property `width`, and has a
            LineString, a Point, a MultiLineString or MultiPoint, or a GeometryCollection of these. Where
            features overlap, the later one wins. Altitudes are ignored.
        raster: the raster drawn on. Without georeference only pixel coordinates work.
        label_space: the classes.
        crs: what the coordinates are in: None for the collection's own `crs` member (which may name "pixel"
            too) or else longitude and latitude; "pixel" for (column, row), fractions allowed; or what
            `parse_crs` reads ("EPSG:32631").
        width: of lines that do not state theirs, in pixels of the raster, 1 to 1000.

    Returns:
        (H, W) uint8, label-space indices, 255 where nothing was drawn. Later features may hide a whole one.

    Raises:
        ClickError: not GeoJSON of lines and points with classes, no feature at all, a coordinate
            that is no finite number, a width out of bounds, or a feature that touches no pixel of the raster,
            or none with data. The message names the feature by its position, counted from 0, the coordinates
            it starts at, and what would be right.
        UnknownClassError: a class that the label space lacks; the message names the feature and the classes.
        InvalidParameterError: an unknown CRS, or map coordinates on a raster without georeference.
        ImageUnreadableError: the raster is damaged where the scribbles are.
    """
    features = features_of(collection, _SCRIBBLES)
    scribbles = [_scribble(feature, label_space, width) for feature in features]
    system = system_of(collection, crs)
    mask = np.full((raster.height, raster.width), IGNORE, np.uint8)
    for scribble in scribbles:
        rows, cols = _pixels(scribble, raster, system)
        mask[rows, cols] = scribble.label
    return mask


def _scribble(feature: Feature, label_space: LabelSpace, width: float) -> _Scribble:
    lines = [_line(part) for part in feature.parts]
    label = label_of(feature, _start(lines), label_space)
    named = f"feature {feature.number}"
    stated = feature.properties.get("width")
    value = width if stated is None else stated
    # NaN is not between
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= _WIDEST:
        raise ClickError(f"{named}: the width of a line is from 1 to {_WIDEST:g} pixels, not {value!r:.80}")
    return _Scribble(named, lines, label, float(value))


def _line(part: Part) -> NDArray[np.float64]:
    """(n, 2) x and y, n >= 2; n = 1 of a Point."""
    values = part.coordinates
    if part.geometry == "Point":
        return np.array([coordinates_of(part.named, values)])
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) < 2:
        raise ClickError(
            f"{part.named}: a line is a list of at least two positions [x, y], not {values!r:.80}"
        )
    return np.array([coordinates_of(part.named, position) for position in values])


def _pixels(
    scribble: _Scribble, raster: Raster | RasterSource, system: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns (n,) of the pixels with data that a feature touches, at least one."""
    corners = np.concatenate(scribble.lines)
    placed = np.column_stack(positions(raster, corners[:, 0], corners[:, 1], system, names=[scribble.named]))
    ends = np.cumsum([len(line) for line in scribble.lines])[:-1]
    rows, cols = np.empty((2, 0), np.int64)
    if (abs(placed) <= _FARTHEST).all():
        shape = (raster.height, raster.width)
        rows, cols = line_pixels(np.split(placed, ends), width=scribble.width, shape=shape)
    x, y = _start(scribble.lines)
    named = f"{scribble.named} at ({x:.10g}, {y:.10g})"
    if not len(rows):
        raise ClickError(off_raster(raster, named, (corners[:, 0], corners[:, 1]), system))
    valid = on_data(rows, cols, raster)
    if not valid.any():
        raise ClickError(f"on pixels without data: {named}; draw where the image has data")
    return rows[valid], cols[valid]


def _start(lines: list[NDArray[np.float64]]) -> tuple[float, float]:
    return float(lines[0][0, 0]), float(lines[0][0, 1])
