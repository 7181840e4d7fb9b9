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
    from numpy.typing import NDArray

    from icss_core.labels import LabelSpace
    from icss_core.raster.source import RasterSource

    Points = tuple[NDArray[np.float64], NDArray[np.float64]]

LON_LAT: Final = "EPSG:4326"
"""Coordinates of GeoJSON unless said otherwise: longitude, latitude."""
PIXEL: Final = "pixel"
"""Instead of a CRS: coordinates are (column, row) of the raster, pixel (0, 0) reaching from 0 to 1."""


class Kind(NamedTuple):
    """What the features of a collection are, as its messages call them."""

    one: str
    several: str
    geometries: tuple[str, ...]
    advice: str
    """What to do where there is none."""


def features_of(collection: Mapping[str, Any], kind: Kind) -> Sequence[Any]:
    """The features, of which there is at least one.

    Raises:
        ClickError: it is no FeatureCollection, or an empty one.
    """
    if not isinstance(collection, Mapping) or collection.get("type") != "FeatureCollection":
        found = collection.get("type") if isinstance(collection, Mapping) else type(collection).__name__
        raise ClickError(
            f"{kind.several} must be a GeoJSON FeatureCollection of {_plural(kind)}, not {found!r}"
        )
    features = collection.get("features")
    if not isinstance(features, Sequence) or isinstance(features, str):
        raise ClickError("the FeatureCollection has no list of features")
    if not features:
        raise ClickError(f"no {kind.one} at all: the FeatureCollection is empty; {kind.advice}")
    return features


def geometry_of(index: int, feature: object, kind: Kind) -> tuple[str, object, Mapping[str, Any]]:
    """Type of a feature's geometry, its coordinates, and the feature's properties.

    Raises:
        ClickError: it is no feature, or its geometry is of another kind.
    """
    geometry = feature.get("geometry") if isinstance(feature, Mapping) else None
    if not isinstance(feature, Mapping) or not isinstance(geometry, Mapping):
        raise ClickError(
            f"feature {index}: a Feature with a geometry of type {' or '.join(kind.geometries)} is needed, "
            f"not {feature!r:.80}"
        )
    name = geometry.get("type")
    if name not in kind.geometries:
        raise ClickError(f"feature {index}: its geometry is a {name!r}; {kind.several} are {_plural(kind)}")
    properties = feature.get("properties")
    return name, geometry.get("coordinates"), properties if isinstance(properties, Mapping) else {}


def coordinates_of(index: int, values: object) -> tuple[float, float]:
    """The two numbers of a position; a third one, the altitude, is ignored.

    Raises:
        ClickError: they are not two finite numbers.
    """
    numbers = isinstance(values, Sequence) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )
    if not numbers or not isinstance(values, Sequence) or len(values) not in (2, 3):
        raise ClickError(f"feature {index}: coordinates must be two numbers [x, y], not {values!r:.80}")
    try:
        x, y = float(values[0]), float(values[1])
    except OverflowError as error:
        raise ClickError(f"feature {index}: coordinates must be finite numbers") from error
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ClickError(f"feature {index}: coordinates must be finite numbers, not [{x}, {y}]")
    return x, y


def label_of(
    index: int, at: tuple[float, float], properties: Mapping[str, Any], label_space: LabelSpace
) -> int:
    """Index of the class that a feature names; its coordinates are for the message.

    Raises:
        ClickError: it names none.
        UnknownClassError: the label space lacks it.
    """
    name = properties.get("class")
    if not isinstance(name, str) or not name:
        raise ClickError(
            f"feature {index} at ({at[0]}, {at[1]}): it needs a property 'class' with the name of one of "
            f"{list(label_space.names)}, not {name!r}"
        )
    try:
        return label_space.index(name)
    except UnknownClassError as error:
        raise UnknownClassError(f"feature {index} at ({at[0]}, {at[1]}): {error}") from error


def system_of(collection: Mapping[str, Any], crs: str | None) -> str:
    """What the coordinates are in: the caller's word, else the `crs` member's, else longitude and latitude.

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
    feature: int | None = None,
) -> Points:
    """Rows and columns (n,) float64 on the raster, or off it; (0, 0) is the corner of the first pixel.

    Args:
        raster: the raster.
        xs: (n,) as the features have them.
        ys: (n,) likewise.
        system: "pixel", or a CRS.
        feature: the one that all belong to, for messages; None: each is a feature of its own.

    Raises:
        ClickError: coordinates that are none of `system`, or have no place in the raster's CRS.
        InvalidParameterError: an unknown CRS, or map coordinates on a raster without georeference.
    """
    if system == PIXEL:
        return ys, xs
    if system == LON_LAT:
        # 360: rasters across the antimeridian may count on; the projection of more than that is meaningless
        impossible = np.flatnonzero((abs(xs) > 360) | (abs(ys) > 90))
        if len(impossible):
            first = int(impossible[0])
            raise ClickError(
                f"feature {first if feature is None else feature} at ({xs[first]:.10g}, {ys[first]:.10g}) "
                "is no longitude and latitude; "
                f'name the CRS the coordinates are in, or crs="{PIXEL}" for (column, row)'
            )
    try:
        return map_to_position(georeferenced(raster), xs, ys, system)
    except ClickError as error:  # without `feature`, its "point" is the position of our feature
        named = "the features" if feature is None else f"feature {feature}"
        raise ClickError(f"{named} cannot be placed on the raster: {error}") from error


def georeferenced(raster: Raster | RasterSource) -> Raster:
    """The raster, which has a place on the map or says itself that it has none.

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
        rows, cols = positions(raster, ys, xs, LON_LAT)
    except ClickError:
        return False
    return bool(on_raster(floored(rows), floored(cols), raster).all())


def _plural(kind: Kind) -> str:
    *first, last = (f"{name}s" for name in kind.geometries)
    return f"{', '.join(first)} and {last}" if first else last
