"""Outlines of the classes in a class map, as GeoJSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias

from icss_core.errors import BandMismatchError, InvalidParameterError, OutlinesTooLargeError
from icss_core.raster.geometries import AREAS, coordinates_of, placement_of
from icss_core.raster.outlines import outlines_of
from icss_core.raster.reader import open_mask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icss_core.labels import LabelSpace
    from icss_core.raster.reader import Raster

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
        place = placement_of(raster, coordinates)
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


def _check_stream(file: IO[bytes], raster: Raster) -> None:
    """Raises where polygons would go into the map that they are made of."""
    dataset = raster.gdal_band().ds
    try:
        same = os.path.samestat(os.fstat(file.fileno()), Path(dataset.name).stat())
    except OSError:  # one of the two is no file of this machine
        return
    if same:
        raise InvalidParameterError(f"{raster.address} is the map; its polygons go into another file")
