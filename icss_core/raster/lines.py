"""Lines of a width as pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import rasterio.features
import shapely
from affine import Affine

from icss_core.raster.environment import gdal_ready
from icss_core.raster.georeference import floored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_ARC: Final = 16
"""Corners of a quarter of a round end: they lie within 0.2 % of half the width."""


def line_pixels(
    lines: Sequence[NDArray[np.float64]], *, width: float, shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels whose centre is at most half a width away from one of the lines, and those of its corners.

    Ends and joints are round. With the pixels of its corners the shortest line has one. What is off the
    raster is cut off.

    Args:
        lines: at least one, (n, 2) float each, n >= 1, positions (row, col), (0, 0) the corner of the first
            pixel. A line of one position is the pixel that it lies in.
        width: in pixels, above 0.
        shape: height and width of the raster.

    Returns:
        rows (m,) and columns (m,) int64, each pixel once, in row-major order; m may be 0.
    """
    corners = np.concatenate(lines)
    reach = width / 2 + 1
    low = np.clip(floored(corners.min(axis=0) - reach), 0, shape)
    high = np.clip(floored(corners.max(axis=0) + reach) + 1, 0, shape)
    inside = np.zeros(np.maximum(high - low, 0), np.uint8)
    if not inside.size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    drawn = [shapely.LineString(line[:, ::-1]) for line in lines if len(line) > 1]
    if drawn:
        band = shapely.buffer(shapely.MultiLineString(drawn), width / 2, quad_segs=_ARC)
        with gdal_ready():
            rasterio.features.rasterize(
                [(band, 1)], out=inside, transform=Affine.translation(int(low[1]), int(low[0]))
            )
    pixels = floored(corners)
    pixels = pixels[((pixels >= low) & (pixels < high)).all(axis=1)] - low
    inside[pixels[:, 0], pixels[:, 1]] = 1
    rows, cols = np.nonzero(inside)
    return rows + low[0], cols + low[1]
