from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from affine import Affine
from awkward_rasters import write
from shapely.geometry import Point, box

from icss_core.raster.footprint import footprint
from icss_core.raster.reader import open_raster

if TYPE_CHECKING:
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry


def footprint_of(folder: Path, crs: str | None, transform: Affine, side: int = 200) -> BaseGeometry | None:
    path = write(folder / "image.tif", np.ones((1, side, side), np.uint8), crs=crs, transform=transform)
    with open_raster(path) as raster:
        return footprint(raster)


@pytest.mark.parametrize("north_up", [True, False])
def test_rectangle_of_degrees_is_itself(north_up: bool, tmp_path: Path) -> None:
    step = -0.01 if north_up else 0.01
    found = footprint_of(tmp_path, "EPSG:4326", Affine(0.01, 0, 8, 0, step, 50))
    expected = box(8, 48, 10, 50) if north_up else box(8, 50, 10, 52)
    assert found.symmetric_difference(expected).area < 1e-9
    assert found.exterior.is_ccw


def test_corners_of_a_projected_raster_are_where_rasterio_puts_them(tmp_path: Path) -> None:
    from rasterio.warp import transform_bounds

    found = footprint_of(tmp_path, "EPSG:32632", Affine(10, 0, 500_000, 0, -10, 5_500_000))
    expected = transform_bounds("EPSG:32632", "EPSG:4326", 500_000, 5_498_000, 502_000, 5_500_000)
    np.testing.assert_allclose(found.bounds, expected, atol=1e-6)


def test_it_is_cut_at_the_antimeridian(tmp_path: Path) -> None:
    found = footprint_of(tmp_path, "EPSG:32660", Affine(3000, 0, 600_000, 0, -3000, 7_000_000))
    assert found.geom_type == "MultiPolygon"
    assert found.bounds[0] == -180
    assert found.bounds[2] == 180


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3413", 90), ("EPSG:3031", -90)])
def test_a_pole_inside_is_covered(crs: str, pole: int, tmp_path: Path) -> None:
    found = footprint_of(tmp_path, crs, Affine(1000, 0, -110_000, 0, -1000, 95_000))
    assert found.covers(Point(20, pole))
    assert not found.covers(Point(20, -pole))
    assert found.covers(Point(-100, pole * 0.995))


def test_raster_that_lies_nowhere_has_none(tmp_path: Path) -> None:
    assert footprint_of(tmp_path, None, Affine(2, 0, 5, 0, 2, 5)) is None
    assert footprint_of(tmp_path, None, Affine.identity()) is None
