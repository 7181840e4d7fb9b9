"""Labels laid onto grids that count their longitudes in another way; judged by GDAL's warper."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import reproject

from icss_core.errors import MisplacedError
from icss_core.labels import IGNORE
from icss_core.raster.alignment import Grid, laid_onto

LABELS = (np.arange(60 * 90).reshape(60, 90) % 200).astype(np.uint8)


def grid(width: int, west: float, pixel: float = 0.01, crs: str = "EPSG:4326") -> Grid:
    return Grid(60, width, Affine(pixel, 0, west, 0, -0.01, -17), CRS.from_string(crs))


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (grid(90, -180.4), grid(90, 179.6)),
        (grid(90, 179.6), grid(120, -180.5)),
        (grid(90, 359.7), grid(90, -0.3)),
        (grid(90, -180, 4), grid(90, 175, 0.1)),  # one around the Earth, both ends of which are needed
        (grid(90, 0, 4), grid(90, -4.5, 0.1)),
    ],
)
def test_labels_a_turn_around_the_earth_away_are_laid_where_they_belong(source: Grid, target: Grid) -> None:
    theirs = np.full((60, target.width), IGNORE, np.uint8)
    for turn in (-360, 0, 360):
        moved = Affine.translation(turn, 0) @ source.transform
        part = np.full_like(theirs, IGNORE)
        reproject(
            LABELS, part, src_transform=moved, src_crs="EPSG:32632", dst_transform=target.transform,
            dst_crs="EPSG:32632", src_nodata=IGNORE, dst_nodata=IGNORE, tolerance=0,
        )  # fmt: skip
        theirs = np.where(part == IGNORE, theirs, part)
    laid = laid_onto(LABELS, source, target)
    assert (laid != IGNORE).mean() > 0.7
    np.testing.assert_array_equal(laid, theirs)


def test_a_turn_in_no_longitude_is_elsewhere() -> None:
    with pytest.raises(MisplacedError, match="it lies elsewhere"):
        laid_onto(LABELS, grid(90, -180.4, crs="EPSG:32632"), grid(90, 179.6, crs="EPSG:32632"))
