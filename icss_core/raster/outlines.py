"""Outlines of the regions of a class map, in pixels, as GDAL draws them along edges of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import rasterio.features
from affine import Affine

from icss_core.errors import InvalidParameterError, OutlinesTooLargeError
from icss_core.labels import BACKGROUND, IGNORE
from icss_core.raster.environment import gdal_ready
from icss_core.raster.georeference import applied
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from icss_core.labels import LabelSpace
    from icss_core.raster.reader import Raster

    Region: TypeAlias = tuple[int, list[list[tuple[float, float]]]]
    """Class index, and rings, the outer one first."""

MAX_CORNERS: Final = 8_000_000
"""Of all outlines of a map: GDAL has them in memory at once before the first is given back, up to some GB."""
_TOGETHER: Final = 1000
_STRIP: Final = 512
"""Rows read at a time to count corners."""


@dataclass(frozen=True, slots=True)
class Outlines:
    """Outlines of several regions. A region has rings, the outer one first; a ring ends where it starts."""

    indices: NDArray[np.int64]
    """(regions,) of the classes."""
    first_rings: NDArray[np.int64]
    """(regions + 1,) the rings of a region are those from its own to the next one's."""
    first_points: NDArray[np.int64]
    """(rings + 1,) likewise."""
    points: NDArray[np.float64]
    """(points, 2): column and row of corners of pixels; or x and y, where they have been placed."""

    @property
    def is_last(self) -> NDArray[np.bool_]:
        """(points,): the last of its ring, which is where no edge starts."""
        last = np.zeros(len(self.points), bool)
        last[self.first_points[1:] - 1] = True
        return last

    def ring_areas(self) -> NDArray[np.float64]:
        """(rings,) in the plane of the points; positive where a ring turns from x to y."""
        x, y = self.points.T
        origin = self.points[self.first_points[:-1]].repeat(np.diff(self.first_points), axis=0)
        x, y = x - origin[:, 0], y - origin[:, 1]
        doubled = np.append(x[:-1] * y[1:] - x[1:] * y[:-1], 0.0)
        doubled[self.is_last] = 0
        areas: NDArray[np.float64] = np.add.reduceat(doubled, self.first_points[:-1]) / 2
        return areas

    def of_regions(self, ring_values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(regions,): the size of the outer ring less that of the holes, of sizes (rings,) of any sign."""
        sizes = np.abs(ring_values)
        totals: NDArray[np.float64] = 2 * sizes[self.first_rings[:-1]] - np.add.reduceat(
            sizes, self.first_rings[:-1]
        )
        return totals


def outlines_of(raster: Raster, label_space: LabelSpace, *, include_background: bool) -> Iterator[Outlines]:
    """The outlines of every region with data, a thousand regions at a time, in pixels.

    Raises:
        OutlinesTooLargeError: they have more than `MAX_CORNERS` corners.
        InvalidParameterError: a value is not in the label space, or the map's transform has no inverse.
    """
    inverse = None
    if raster.transform != Affine.identity():  # then GDAL gives map coordinates
        if raster.transform.is_degenerate:
            raise InvalidParameterError(f"{raster.address} has a transform without inverse")
        inverse = ~raster.transform
    regions = _regions(raster, label_space, include_background=include_background)
    # a coordinate transformation costs far more to set up than to use
    while several := list(islice(regions, _TOGETHER)):
        yield _gathered(several, inverse)


def _gathered(regions: list[Region], inverse: Affine | None) -> Outlines:
    rings = [ring for _, of_region in regions for ring in of_region]
    points = np.array([point for ring in rings for point in ring])
    if inverse is not None:
        points = np.rint(np.column_stack(applied(inverse, points[:, 0], points[:, 1])))
    return Outlines(
        indices=np.array([index for index, _ in regions]),
        first_rings=np.cumsum([0, *(len(of_region) for _, of_region in regions)]),
        first_points=np.cumsum([0, *map(len, rings)]),
        points=points,
    )


def _regions(raster: Raster, label_space: LabelSpace, *, include_background: bool) -> Iterator[Region]:
    _check_corners(raster)
    with gdal_ready():
        outline: dict[str, Any]
        for outline, value in rasterio.features.shapes(raster.gdal_band()):
            index = int(value)
            if index == IGNORE or (index == BACKGROUND and not include_background):
                continue
            if index >= len(label_space):
                raise InvalidParameterError(
                    f"{raster.address} has the value {index}, the label space only {len(label_space)} classes"
                )
            yield index, outline["coordinates"]


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
