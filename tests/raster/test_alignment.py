"""Labels laid where they lie; pyproj, pixel by pixel, is the judge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer
from rasterio.crs import CRS

from icss_core.errors import InvalidParameterError, MisplacedError
from icss_core.labels import IGNORE
from icss_core.raster.alignment import Grid, laid_onto

UTM = CRS.from_epsg(32640)
IMAGE = Grid(60, 80, Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000), UTM)
LABELS = np.random.default_rng(0).integers(0, 5, (60, 80)).astype(np.uint8)


def by_pixels(labels: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """The label under each pixel's centre, one pixel at a time."""
    to_source = Transformer.from_crs(target.crs, source.crs, always_xy=True)
    expected = np.full((target.height, target.width), IGNORE, np.uint8)
    for row in range(target.height):
        for col in range(target.width):
            x, y = to_source.transform(*(target.transform @ (col + 0.5, row + 0.5)))
            at_col, at_row = ~source.transform @ (x, y)
            if 0 <= at_row < source.height and 0 <= at_col < source.width:
                expected[row, col] = labels[int(at_row), int(at_col)]
    return expected


OTHER_GRIDS = {
    "south up": Grid(60, 80, Affine(0.5, 0, 500_000, 0, 0.5, 4_000_000 - 30), UTM),
    "shifted": Grid(60, 80, Affine(0.5, 0, 500_006.6, 0, -0.5, 4_000_003.1), UTM),
    "coarser and larger": Grid(60, 80, Affine(1.3, 0, 499_980, 0, -1.3, 4_000_020), UTM),
    "finer": Grid(60, 80, Affine(0.21, 0, 500_003, 0, -0.21, 3_999_990), UTM),
    "rotated": Grid(60, 80, Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000) @ Affine.rotation(20), UTM),
    "mirrored": Grid(60, 80, Affine(-0.5, 0, 500_040, 0, -0.5, 4_000_000), UTM),
}


@pytest.mark.parametrize("name", OTHER_GRIDS)
def test_each_pixel_gets_the_label_of_its_place(name: str) -> None:
    laid = laid_onto(LABELS, OTHER_GRIDS[name], IMAGE)
    np.testing.assert_array_equal(laid, by_pixels(LABELS, OTHER_GRIDS[name], IMAGE))
    assert (laid < IGNORE).any()


@pytest.mark.parametrize("code", [32639, 4326, 3857])
def test_another_crs_is_no_other_place(code: int) -> None:
    crs = CRS.from_epsg(code)
    there = Transformer.from_crs(UTM, crs, always_xy=True)
    west, north = there.transform(500_000 - 3.07, 4_000_000 + 2.11)
    east, south = there.transform(500_040 + 1, 4_000_000 - 33)
    size = ((east - west) / 80, (south - north) / 60)
    source = Grid(60, 80, Affine(size[0], 0, west, 0, size[1], north), crs)
    laid = laid_onto(LABELS, source, IMAGE)
    expected = by_pixels(LABELS, source, IMAGE)
    assert (laid == expected).mean() > 0.999, "but for centres that lie on an edge"
    assert (laid < IGNORE).mean() > 0.95


def test_labels_on_the_same_pixels_are_not_touched() -> None:
    for grid in (IMAGE, replace(IMAGE, transform=IMAGE.transform @ Affine.translation(0.04, -0.03))):
        assert laid_onto(LABELS, grid, IMAGE) is LABELS
    nowhere = Grid(60, 80, Affine.identity(), None)
    assert laid_onto(LABELS, nowhere, IMAGE) is LABELS, "a picture drawn over the image"
    assert laid_onto(LABELS, IMAGE, nowhere) is LABELS
    without_crs = replace(IMAGE, crs=None)
    assert laid_onto(LABELS, without_crs, IMAGE) is LABELS
    assert laid_onto(LABELS, without_crs, without_crs) is LABELS


def test_one_crs_in_two_spellings_is_one_place() -> None:
    loose = CRS.from_string("+proj=utm +zone=40 +ellps=WGS84 +units=m")
    assert loose != UTM
    assert laid_onto(LABELS, replace(IMAGE, crs=loose), IMAGE) is LABELS


def test_a_grid_without_crs_is_moved_within_its_own_coordinates() -> None:
    shifted = replace(OTHER_GRIDS["shifted"], crs=None)
    laid = laid_onto(LABELS, shifted, replace(IMAGE, crs=None))
    np.testing.assert_array_equal(laid, by_pixels(LABELS, OTHER_GRIDS["shifted"], IMAGE))


POINTS = ((0.0, 0.0, 55.0, 25.0), (0.0, 80.0, 55.1, 25.0), (60.0, 0.0, 55.0, 24.9))


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        (Grid(59, 80, Affine.identity(), None), IMAGE, "59 x 80 pixels, the image 60 x 80"),
        (replace(IMAGE, transform=Affine(0.5, 0, 600_000, 0, -0.5, 4_000_000)), IMAGE, "lies elsewhere"),
        (replace(IMAGE, crs=CRS.from_epsg(32633)), IMAGE, "lies elsewhere"),
        (replace(OTHER_GRIDS["shifted"], crs=None), IMAGE, "its transform has no CRS"),
        (OTHER_GRIDS["shifted"], replace(IMAGE, crs=None), "the image's transform has no CRS"),
        (
            Grid(60, 80, Affine.identity(), None, POINTS),
            IMAGE,
            "control points, the other a transform",
        ),
        (
            Grid(60, 80, Affine.identity(), None, POINTS),
            Grid(60, 80, Affine.identity(), None, POINTS[:2]),
            "ground control points are not those",
        ),
        (replace(IMAGE, transform=Affine(0, 0, 1, 0, 0, 2)), IMAGE, "no inverse"),
    ],
)
def test_what_cannot_be_laid_is_refused(source: Grid, target: Grid, says: str) -> None:
    with pytest.raises(MisplacedError, match=says):
        laid_onto(np.ones((source.height, source.width), np.uint8), source, target)


def test_a_crs_that_names_a_file_is_not_followed() -> None:
    crs = CRS.from_wkt(CRS.from_epsg(4326).to_wkt().replace("]]", ']],EXTENSION["PROJ4_GRIDS","a.gsb"]', 1))
    with pytest.raises((InvalidParameterError, MisplacedError)):
        laid_onto(LABELS, replace(OTHER_GRIDS["shifted"], crs=crs), IMAGE)
