"""How much of a class map each class takes: in pixels, and in square metres where the map lies on Earth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from icss_core.errors import BandMismatchError, InvalidParameterError
from icss_core.raster.ellipsoid import ring_areas, strip_area
from icss_core.raster.geometries import coordinates_of
from icss_core.raster.lon_lat import LONGITUDE_LATITUDE, LonLat
from icss_core.raster.reader import open_mask
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from icss_core.raster.reader import Raster

_BLOCK: Final = 512
"""Side of the blocks, in pixels, in each of which all pixels are taken to have the same area."""
_STEPS: Final = 64
"""Points on each side of a block: enough also near a pole, where longitudes change fast."""


class ClassAreas(NamedTuple):
    """What the values of one map take."""

    pixels: NDArray[np.int64]
    """(256,) pixels with each value; the last, 255, are those without data."""
    square_metres: NDArray[np.float64] | None
    """(256,) the same on the ellipsoid of WGS 84; None where nobody knows where the map lies."""


def class_areas(class_map: str | Path) -> ClassAreas:
    """Count the pixels of each class, and add up their areas.

    The map is read once, block by block. A block's area is that of its outline, with points along its edges:
    within 512 pixels the area of a pixel changes by less than a hundredth, in any usual CRS.

    Args:
        class_map: address of a map as `CogSink` writes it; its band 1 is taken.

    Raises:
        ImageNotFoundError, ImageUnreadableError: the map cannot be read.
        BandMismatchError: it is no uint8 map.
    """
    with open_mask(class_map) as raster:
        if raster.dtype != "uint8":
            raise BandMismatchError(f"{raster.address} is {raster.dtype}, not a class map (uint8)")
        blocks = list(_blocks(raster, _BLOCK))
        sizes = _block_areas(raster, blocks)
        pixels, areas = np.zeros(256, np.int64), np.zeros(256)
        for number, block in enumerate(blocks):
            values, _ = raster.read_stored(block)
            counts = np.bincount(values[0].ravel(), minlength=256)
            pixels += counts
            if sizes is not None:
                areas += counts * (sizes[number] / block.area)
    return ClassAreas(pixels, None if sizes is None else areas)


def raster_area(raster: Raster) -> float | None:
    """Square metres that a raster covers on the Earth, with and without data; None where nobody knows.

    Args:
        raster: only its description is read.
    """
    side = -(-max(raster.height, raster.width) // 4)
    areas = _block_areas(raster, list(_blocks(raster, side)))
    return None if areas is None else float(areas.sum())


def _blocks(raster: Raster, side: int) -> Iterator[Window]:
    for row in range(0, raster.height, side):
        for col in range(0, raster.width, side):
            yield Window(row, col, side, side).clip(raster.height, raster.width)


def _block_areas(raster: Raster, blocks: list[Window]) -> NDArray[np.float64] | None:
    """Square metres of each block; None where a corner has no place on the Earth."""
    if coordinates_of(raster) != LONGITUDE_LATITUDE:
        return None
    try:
        place = LonLat(raster)
        return np.array([_ring_area(place(block.outline(_STEPS))) for block in blocks])
    except InvalidParameterError:
        return None


def _ring_area(outline: NDArray[np.float64]) -> float:
    """Square metres within one closed ring of longitudes and latitudes (n, 2), however it turns."""
    outline[:, 0] = np.unwrap(outline[:, 0], period=360)
    area = abs(float(ring_areas(outline, np.array([0, len(outline)]))[0]))
    if abs(outline[-1, 0] - outline[0, 0]) > 180:  # around a pole: what was added up is down to the equator
        area = 2 * np.pi * float(strip_area(np.array(90.0))) - area
    return area
