"""How much of a class map each class takes: in pixels, and in square metres where the map lies on Earth."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from affine import Affine

from icss_core.errors import BandMismatchError
from icss_core.raster.ellipsoid import ring_areas, strip_area
from icss_core.raster.geometries import Coordinates, coordinates_of
from icss_core.raster.lon_lat import LONGITUDE_LATITUDE, LonLat
from icss_core.raster.reader import open_mask
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from icss_core.raster.reader import Raster

_BLOCK = 512
"""Side of the blocks, in pixels, in each of which all pixels are taken to have the same area."""


class ClassAreas(NamedTuple):
    """What the classes of one map take, by index; pixels without data are in none."""

    coordinates: Coordinates
    """In what areas are: square metres on the ellipsoid of WGS 84 where it is "EPSG:4326", square units of
    the map for "map", and pixels for "pixel"; see `coordinates_of`."""
    pixels: NDArray[np.int64]
    """(256,) pixels with this value; the last, 255, are those without data."""
    areas: NDArray[np.float64]
    """(256,) the same in units of area."""


def class_areas(class_map: str | Path) -> ClassAreas:
    """Count the pixels of each class, and add up their areas.

    The map is read once, block by block. A block's area is that of its outline, with points along its edges,
    on the ellipsoid: in 512 pixels the area of a pixel changes by less than what its class is uncertain.

    Args:
        class_map: address of a map as `CogSink` writes it; its band 1 is taken.

    Raises:
        ImageNotFoundError, ImageUnreadableError: the map cannot be read.
        BandMismatchError: it is no uint8 map.
        InvalidParameterError: no way leads from the map's CRS to EPSG:4326.
    """
    with open_mask(class_map) as raster:
        if raster.dtype != "uint8":
            raise BandMismatchError(f"{raster.address} is {raster.dtype}, not a class map (uint8)")
        coordinates = coordinates_of(raster)
        pixel_area = _pixel_area(raster, coordinates)
        pixels, areas = np.zeros(256, np.int64), np.zeros(256)
        for block in _blocks(raster):
            values, _ = raster.read_stored(block)
            counts = np.bincount(values[0].ravel(), minlength=256)
            pixels += counts
            areas += counts * pixel_area(block)
    return ClassAreas(coordinates, pixels, areas)


def _blocks(raster: Raster) -> Iterator[Window]:
    for row in range(0, raster.height, _BLOCK):
        for col in range(0, raster.width, _BLOCK):
            yield Window(row, col, _BLOCK, _BLOCK).clip(raster.height, raster.width)


def _pixel_area(raster: Raster, coordinates: Coordinates) -> Callable[[Window], float]:
    """What gives the area of a pixel in a block."""
    if coordinates != LONGITUDE_LATITUDE:
        to_plane = raster.transform if coordinates == "map" else Affine.identity()
        return lambda _: abs(float(to_plane.determinant))
    place = LonLat(raster)

    def on_earth(block: Window) -> float:
        outline = place(_outline(block))
        outline[:, 0] = np.unwrap(outline[:, 0], period=360)
        area = abs(float(ring_areas(outline, np.array([0, len(outline)]))[0]))
        if (
            abs(outline[-1, 0] - outline[0, 0]) > 180
        ):  # around a pole: what was added up is down to the equator
            area = 2 * np.pi * float(strip_area(np.array(90.0))) - area
        return area / block.area

    return on_earth


def _outline(block: Window, steps: int = 64) -> NDArray[np.float64]:
    """(n, 2) columns and rows around a block, closed, with points along each edge."""
    along = np.arange(steps) / steps
    corners = np.array(
        [
            (block.col, block.row),
            (block.end_col, block.row),
            (block.end_col, block.end_row),
            (block.col, block.end_row),
            (block.col, block.row),
        ],
        np.float64,
    )
    edges = [start + along[:, None] * (end - start) for start, end in pairwise(corners)]
    return np.concatenate([*edges, corners[:1]])
