"""Labels of one raster laid onto the pixels of another, by where both lie on the map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import reproject

from icss_core.errors import MisplacedError
from icss_core.labels import IGNORE
from icss_core.raster.crs import without_files
from icss_core.raster.environment import gdal_ready
from icss_core.raster.georeference import applied, full_turn

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.crs import CRS

    from icss_core.raster.reader import Raster

_SAME: Final = 0.1
"""Pixels that corners of one grid may be apart from those of the other: files round their transforms."""
_ROWS: Final = 512
"""Rows that are looked up at a time."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the pixels of a raster lie."""

    height: int
    width: int
    transform: Affine
    """Pixel (col, row) to map; the identity where nobody said."""
    crs: CRS | None
    points: tuple[tuple[float, ...], ...] = ()
    """Row, column, x and y of ground control points, which some rasters have instead of a transform."""

    @classmethod
    def of(cls, raster: Raster) -> Grid:
        """The grid of an open raster, rows and columns as it is read."""
        placed = raster.transform != Affine.identity()
        points = () if placed else tuple((one.row, one.col, one.x, one.y) for one in raster.gcps)
        crs = raster.gcps_crs if points and raster.gcps_crs is not None else raster.crs
        return cls(raster.height, raster.width, raster.transform, crs, points)

    @property
    def is_placed(self) -> bool:
        """Whether it has a transform."""
        return self.transform != Affine.identity()

    def corners(self) -> NDArray[np.float64]:
        """(4, 2) map coordinates of its corners."""
        cols, rows = np.array([0, self.width, 0, self.width]), np.array([0, 0, self.height, self.height])
        return np.column_stack(applied(self.transform, cols.astype(float), rows.astype(float)))


def laid_onto(labels: NDArray[np.uint8], source: Grid, target: Grid) -> NDArray[np.uint8]:
    """Labels on the pixels of another grid, each pixel the label of the one in which its centre lies.

    Grids whole turns around the Earth apart, such as from 0 to 360 degrees and from -180 to 180, meet.
    Where one of the grids lies nowhere, pixels are taken to be the same ones, as of a picture drawn over an
    image; sizes must agree then. Where both lie on the map, their places decide, whatever their sizes.

    Args:
        labels: (source.height, source.width) uint8.
        source: where they lie.
        target: where they are wanted.

    Returns:
        (target.height, target.width) uint8, 255 = ignore where the labels do not reach; `labels` themselves
        where the grids agree within a tenth of a pixel.

    Raises:
        MisplacedError: sizes differ of grids of which one lies nowhere; only one has a CRS; one is placed by
            control points, and the other otherwise; the two are apart, or no way leads from one's CRS to the
            other's.
    """
    same_size = (source.height, source.width) == (target.height, target.width)
    if not (source.is_placed and target.is_placed):
        _check_same_pixels(source, target)
        return labels
    near = same_size and _apart(source, target) <= _SAME
    if near and (source.crs == target.crs or source.crs is None or target.crs is None):
        return labels
    if (source.crs is None) != (target.crs is None):
        which = "its transform has no CRS" if source.crs is None else "the image's transform has no CRS"
        raise MisplacedError(f"{which}, and its pixels are not those of the image")
    if source.crs == target.crs:
        laid = _within_one_crs(labels, source, target)
    else:
        laid = _by_gdal(labels, source, target)
        if near and (laid == labels).all():
            return labels  # one CRS in two spellings
    if (laid == IGNORE).all() and not (labels == IGNORE).all():
        raise MisplacedError(f"it lies elsewhere, {_bounds(source)}, than the image, {_bounds(target)}")
    return laid


def _check_same_pixels(source: Grid, target: Grid) -> None:
    """Raises where two grids, of which one has no transform, cannot be of the same pixels."""
    if (source.height, source.width) != (target.height, target.width):
        raise MisplacedError(
            f"it is {source.height} x {source.width} pixels, the image {target.height} x {target.width}"
        )
    if (source.is_placed and target.points) or (target.is_placed and source.points):
        raise MisplacedError("one of the two has ground control points, the other a transform")
    if source.points and target.points and not np.allclose(*_common(source.points, target.points)):
        raise MisplacedError("its ground control points are not those of the image")


def _common(
    one: tuple[tuple[float, ...], ...], other: tuple[tuple[float, ...], ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two lists of points as arrays that can be compared: of NaN where they differ in length."""
    if len(one) != len(other):
        return np.array([np.nan]), np.array([0.0])
    return np.array(sorted(one)), np.array(sorted(other))


def _apart(source: Grid, target: Grid) -> float:
    """How far corners of two grids of one size are from each other at most, in pixels of the target."""
    if target.transform.is_degenerate:
        return float("inf")
    corners = source.corners()
    cols, rows = applied(~target.transform, corners[:, 0], corners[:, 1])
    cols -= [0, target.width, 0, target.width]
    rows -= [0, 0, target.height, target.height]
    return float(np.hypot(cols, rows).max())


def _turned(source: Grid, target: Grid) -> list[Grid]:
    """The grid as it lies, and whole turns around the Earth from there, wherever it may meet the other."""
    turn = None if source.crs is None else full_turn(source.crs)
    if turn is None:
        return [source]
    xs, others = source.corners()[:, 0], target.corners()[:, 0]
    first, last = np.ceil((others.min() - xs.max()) / turn), np.floor((others.max() - xs.min()) / turn)
    numbers = sorted({0, *range(int(first), int(last) + 1)}, key=abs)
    return [
        replace(source, transform=Affine.translation(turn * number, 0) @ source.transform)
        for number in numbers
    ]


def _within_one_crs(labels: NDArray[np.uint8], source: Grid, target: Grid) -> NDArray[np.uint8]:
    grids = _turned(source, target)
    same_size = (source.height, source.width) == (target.height, target.width)
    if same_size and any(_apart(grid, target) <= _SAME for grid in grids):
        return labels
    laid = np.full((target.height, target.width), IGNORE, np.uint8)
    for grid in grids:
        _lay(labels, grid, target, laid)
    return laid


def _lay(labels: NDArray[np.uint8], source: Grid, target: Grid, laid: NDArray[np.uint8]) -> None:
    """Lay labels onto `laid`, the pixels of the target, in place."""
    if source.transform.is_degenerate:
        raise MisplacedError("its transform has no inverse")
    between = ~source.transform @ target.transform
    centres = np.arange(target.width) + 0.5
    for top in range(0, target.height, _ROWS):
        rows = np.arange(top, min(top + _ROWS, target.height))[:, None] + 0.5
        # where centres lie on edges between pixels, rounding must not choose now one and now the other
        col = np.floor(between.a * centres + between.b * rows + between.c + 1e-9).astype(np.int64)
        row = np.floor(between.d * centres + between.e * rows + between.f + 1e-9).astype(np.int64)
        inside = (col >= 0) & (col < source.width) & (row >= 0) & (row < source.height)
        laid[top : top + _ROWS][inside] = labels[row[inside], col[inside]]


def _by_gdal(labels: NDArray[np.uint8], source: Grid, target: Grid) -> NDArray[np.uint8]:
    laid = np.full((target.height, target.width), IGNORE, np.uint8)
    try:
        with gdal_ready():
            reproject(
                labels, laid, src_transform=source.transform, src_crs=_usable(source.crs),
                dst_transform=target.transform, dst_crs=_usable(target.crs), src_nodata=IGNORE,
                dst_nodata=IGNORE, resampling=Resampling.nearest, tolerance=0,
            )  # fmt: skip
    except (RasterioError, CRSError, CPLE_BaseError) as error:
        raise MisplacedError(f"there is no way from its CRS to the image's: {str(error)[:200]}") from error
    return laid


def _usable(crs: CRS | None) -> CRS:
    assert crs is not None  # noqa: S101 - grids without one are dealt with before
    return without_files(crs)


def _bounds(grid: Grid) -> str:
    corners = grid.corners()
    (west, south), (east, north) = corners.min(axis=0), corners.max(axis=0)
    code = "" if grid.crs is None else f" {grid.crs.to_string()[:40]}"
    return f"x {west:.10g} to {east:.10g}, y {south:.10g} to {north:.10g}{code}"
