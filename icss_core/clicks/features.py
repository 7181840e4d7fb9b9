"""What clicks and scribbles have in common as GeoJSON: features with a class, coordinates, a CRS."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from icss_core.clicks.placement import on_raster
from icss_core.errors import ClickError, InvalidParameterError, UnknownClassError
from icss_core.raster.georeference import floored, map_to_position
from icss_core.raster.reader import Raster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from icss_core.labels import LabelSpace
    from icss_core.raster.source import RasterSource

    Points = tuple[NDArray[np.float64], NDArray[np.float64]]

LON_LAT: Final = "EPSG:4326"
"""Coordinates of GeoJSON unless said otherwise: longitude, latitude."""
PIXEL: Final = "pixel"
"""Instead of a CRS: coordinates are (column, row) of the raster, pixel (0, 0) reaching from 0 to 1."""
_WORDS: Final = {"Point": "point", "LineString": "line"}
_GEOMETRIES: Final = frozenset(
    ("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection")
)


class AnnotationKind(NamedTuple):
    """A kind of annotation, clicks or scribbles: its geometries, and words for messages."""

    one: str
    several: str
    geometries: tuple[str, ...]
    """Simple geometries that it may have; `Multi...` geometries and collections are split into these."""
    advice: str
    """What to do where there is none."""


class Part(NamedTuple):
    """A point or a line of a feature."""

    named: str
    """For messages: `feature 3`, or `feature 3, point 2` of several; both counted from 0."""
    geometry: str
    """One of the kind's geometries."""
    coordinates: object
    """Of it, not checked."""


class Feature(NamedTuple):
    """A feature with its geometry taken apart; at least one part."""

    number: int
    """In its collection, from 0."""
    parts: list[Part]
    properties: Mapping[str, Any]


_MAX_DEPTH: Final = 8
"""Deepest nesting of geometry collections; GIS write depth 1."""


def features_of(collection: Mapping[str, Any], kind: AnnotationKind) -> list[Feature]:
    """The features, of which there is at least one, with their geometries taken apart.

    Args:
        collection: a FeatureCollection; or a Feature or a geometry, which is taken for a collection of one.
        kind: of features.

    Raises:
        ClickError: it is none of these, or without features, or a feature has no geometry or one of another
            kind.
    """
    name = collection.get("type") if isinstance(collection, Mapping) else type(collection).__name__
    features: object = [collection]
    if name == "FeatureCollection":
        features = collection.get("features")
    elif name in _GEOMETRIES:
        features = [{"type": "Feature", "geometry": collection, "properties": collection.get("properties")}]
    elif name != "Feature":
        raise ClickError(
            f"{kind.several} must be a GeoJSON FeatureCollection of {_plural(kind)}, not {name!r:.80}"
        )
    if not isinstance(features, Sequence) or isinstance(features, str):
        raise ClickError("the FeatureCollection has no list of features")
    if not features:
        raise ClickError(f"no {kind.one} at all: the FeatureCollection is empty; {kind.advice}")
    return [_feature(index, feature, kind) for index, feature in enumerate(features)]


def _feature(index: int, feature: object, kind: AnnotationKind) -> Feature:
    geometry = feature.get("geometry") if isinstance(feature, Mapping) else None
    if not isinstance(feature, Mapping) or not isinstance(geometry, Mapping):
        raise ClickError(
            f"feature {index}: a Feature with a geometry of type {' or '.join(kind.geometries)} is needed, "
            f"not {feature!r:.80}"
        )
    single = list(_single_geometries(index, geometry, kind, depth=0))
    if not single:
        raise ClickError(f"feature {index}: its {geometry.get('type')} is empty; {kind.advice}")
    alone = len(single) == 1
    parts = [
        Part(f"feature {index}" if alone else f"feature {index}, {_WORDS[name]} {number}", name, coordinates)
        for number, (name, coordinates) in enumerate(single)
    ]
    properties = feature.get("properties")
    return Feature(index, parts, properties if isinstance(properties, Mapping) else {})


def _single_geometries(
    index: int, geometry: object, kind: AnnotationKind, *, depth: int
) -> Iterator[tuple[str, object]]:
    """Type and coordinates of what a geometry is made of."""
    name = geometry.get("type") if isinstance(geometry, Mapping) else None
    if not isinstance(geometry, Mapping) or not isinstance(name, str):
        raise ClickError(f"feature {index}: {geometry!r:.80} is no geometry")
    if name in kind.geometries:
        yield name, geometry.get("coordinates")
        return
    single = name.removeprefix("Multi")
    if name == "GeometryCollection" and depth < _MAX_DEPTH:
        for member in _members(index, name, geometry.get("geometries")):
            yield from _single_geometries(index, member, kind, depth=depth + 1)
    elif name != single and single in kind.geometries:
        for coordinates in _members(index, name, geometry.get("coordinates")):
            yield single, coordinates
    else:
        raise ClickError(
            f"feature {index}: its geometry is a {name!r:.80}; {kind.several} are {_plural(kind)}"
        )


def _members(index: int, name: str, members: object) -> Sequence[object]:
    if not isinstance(members, Sequence) or isinstance(members, str):
        raise ClickError(f"feature {index}: a {name} has a list of parts, not {members!r:.80}")
    return members


def coordinates_of(named: str, values: object) -> tuple[float, float]:
    """The two numbers of a position; what follows them, altitude and measure, is ignored.

    Args:
        named: what has the position, for messages.
        values: what stands in its place.

    Raises:
        ClickError: they are not two finite numbers.
    """
    if not isinstance(values, Sequence) or not 2 <= len(values) <= 4 or not all(map(_is_number, values[:2])):
        raise ClickError(f"{named}: coordinates must be two numbers [x, y], not {values!r:.80}")
    try:
        x, y = float(values[0]), float(values[1])
    except OverflowError as error:
        raise ClickError(f"{named}: coordinates must be finite numbers") from error
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ClickError(f"{named}: coordinates must be finite numbers, not [{x}, {y}]")
    return x, y


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def label_of(feature: Feature, at: tuple[float, float], label_space: LabelSpace) -> int:
    """Index of the class that a feature names; the coordinates where it starts are for the message.

    Raises:
        ClickError: it names none.
        UnknownClassError: the label space lacks it.
    """
    name = feature.properties.get("class")
    if not isinstance(name, str) or not name:
        raise ClickError(
            f"feature {feature.number} at ({at[0]}, {at[1]}): it needs a property 'class' with the name of "
            f"one of {list(label_space.names)}, not {name!r:.80}"
        )
    try:
        return label_space.index(name)
    except UnknownClassError as error:
        raise UnknownClassError(f"feature {feature.number} at ({at[0]}, {at[1]}): {error}") from error


def system_of(collection: Mapping[str, Any], crs: str | None) -> str:
    """The CRS of the coordinates: the caller's, else that of the `crs` member, else longitude and latitude.

    Raises:
        ClickError: there is a `crs` member that names nothing; null counts as none.
    """
    member = collection.get("crs")
    if crs or member is None:
        return crs or LON_LAT
    properties = member.get("properties") if isinstance(member, Mapping) else None
    name = properties.get("name") if isinstance(properties, Mapping) else None
    if not isinstance(name, str):
        raise ClickError(f"the crs member names no CRS: {member!r:.80}; leave it out or name one")
    return name or LON_LAT


def positions(
    raster: Raster | RasterSource,
    xs: NDArray[np.float64],
    ys: NDArray[np.float64],
    system: str,
    *,
    names: Sequence[str],
) -> Points:
    """Rows and columns (n,) float64 on the raster, or off it; (0, 0) is the corner of the first pixel.

    Args:
        raster: the raster.
        xs: (n,) as the features have them.
        ys: (n,) likewise.
        system: "pixel", or a CRS.
        names: (n,) of the points, for messages; or one that is all points' name.

    Raises:
        ClickError: coordinates that are none of `system`, or have no place in the raster's CRS.
        InvalidParameterError: an unknown CRS, or map coordinates on a raster without georeference.
    """
    if system == PIXEL:
        return ys, xs
    if system == LON_LAT:
        # up to 360, because longitudes may continue beyond 180 across the antimeridian
        impossible = np.flatnonzero((abs(xs) > 360) | (abs(ys) > 90))
        if len(impossible):
            first = int(impossible[0])
            raise ClickError(
                f"{names[first if len(names) > 1 else 0]} at ({xs[first]:.10g}, {ys[first]:.10g}) "
                "is no longitude and latitude; "
                f'name the CRS the coordinates are in, or crs="{PIXEL}" for (column, row)'
            )
    try:
        return map_to_position(georeferenced(raster), xs, ys, system)
    except ClickError as error:
        named = names[0] if len(names) == 1 else "the points"
        raise ClickError(f"{named} cannot be placed on the raster: {error}") from error


def georeferenced(raster: Raster | RasterSource) -> Raster:
    """The source as a `Raster`, which knows whether it is georeferenced.

    Raises:
        InvalidParameterError: it is an array.
    """
    if not isinstance(raster, Raster):
        raise InvalidParameterError(
            f'this image is an array without georeference; give pixel coordinates with crs="{PIXEL}"'
        )
    return raster


def off_raster(raster: Raster | RasterSource, named: str, points: Points, system: str) -> str:
    """The message for features off the raster, with the likely cause where one can be told.

    Args:
        raster: the raster.
        named: the features.
        points: their coordinates as given, x (n,) and y (n,).
        system: what those were taken as.
    """
    message = (
        f"off the raster of {raster.height} rows and {raster.width} columns: {named}; "
        f"the coordinates were taken as {'(column, row)' if system == PIXEL else system}"
    )
    if system == LON_LAT and _swapped(raster, points):
        return f"{message}; latitude and longitude look swapped, longitude comes first"
    return message


def _swapped(raster: Raster | RasterSource, points: Points) -> bool:
    """The points would all be on the raster if x were the latitude and y the longitude."""
    xs, ys = points
    try:
        rows, cols = positions(raster, ys, xs, LON_LAT, names=["the points"])
    except ClickError:
        return False
    return bool(on_raster(floored(rows), floored(cols), raster).all())


def _plural(kind: AnnotationKind) -> str:
    *first, last = (f"{name}s" for name in kind.geometries)
    return f"{', '.join(first)} and {last}" if first else last
