from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from awkward_rasters import HEIGHT, RASTERS, WIDTH
from pyproj import Transformer

from icss_core.errors import ClickError, InvalidParameterError
from icss_core.raster.georeference import floored, map_to_position, pixel_to_map
from icss_core.raster.reader import open_raster

if TYPE_CHECKING:
    from pathlib import Path

PLACED = ("strips.tif", "non_square_pixels.tif", "rotated.tif", "south_up.tif", "gcps.tif", "cog.tif")


@pytest.mark.parametrize("name", PLACED)
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32632"])
def test_every_pixel_comes_back(name: str, crs: str, tmp_path: Path) -> None:
    rows, cols = (index.ravel() for index in np.mgrid[0:HEIGHT:7, 0:WIDTH:5])
    with open_raster(RASTERS[name](tmp_path / name)) as raster:
        xs, ys = pixel_to_map(raster, rows, cols, crs)
        back_rows, back_cols = map(floored, map_to_position(raster, xs, ys, crs))
    np.testing.assert_array_equal(back_rows, rows)
    np.testing.assert_array_equal(back_cols, cols)
    assert back_rows.dtype == np.int64


@pytest.mark.parametrize("name", ["strips.tif", "rotated.tif", "south_up.tif"])
def test_centres_equal_rasterio_and_pyproj(name: str, tmp_path: Path) -> None:
    path = RASTERS[name](tmp_path / name)
    with rasterio.open(path) as file, open_raster(path) as raster:
        expected = file.xy([0, 17, 149], [0, 99, 132])
        np.testing.assert_allclose(
            pixel_to_map(raster, [0, 17, 149], [0, 99, 132], file.crs), expected, rtol=0, atol=1e-9
        )
        to_degrees = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)
        np.testing.assert_allclose(
            pixel_to_map(raster, [0, 17, 149], [0, 99, 132], "EPSG:4326"),
            to_degrees.transform(*expected),
            rtol=0,
            atol=1e-9,
        )


def test_longitude_comes_first(tmp_path: Path) -> None:
    with open_raster(RASTERS["strips.tif"](tmp_path / "a.tif")) as raster:
        longitude, latitude = pixel_to_map(raster, 0, 0, "EPSG:4326")
    assert longitude == pytest.approx(9.0, abs=0.01)
    assert latitude == pytest.approx(47.85, abs=0.05)


def test_points_off_the_raster_have_pixels_off_the_raster(tmp_path: Path) -> None:
    with open_raster(RASTERS["strips.tif"](tmp_path / "a.tif")) as raster:
        rows, cols = map(floored, map_to_position(raster, [499_999.9, 0], [5_300_000.1, 0], "EPSG:32632"))
    assert (rows[0], cols[0]) == (-1, -1)
    assert rows[1] > HEIGHT


def test_pixels_without_place_on_earth_are_refused(tmp_path: Path) -> None:
    with (
        open_raster(RASTERS["nowhere.tif"](tmp_path / "a.tif")) as raster,
        pytest.raises(InvalidParameterError, match="pixel coordinates"),
    ):
        map_to_position(raster, [1.0], [2.0], "EPSG:4326")


def test_points_without_place_in_the_crs_are_named(tmp_path: Path) -> None:
    with open_raster(RASTERS["strips.tif"](tmp_path / "a.tif")) as raster:
        with pytest.raises(ClickError, match=r"point 1 \(nan"):
            map_to_position(raster, [9.0, np.nan], [47.0, 47.0], "EPSG:4326")
        with pytest.raises(ClickError, match="EPSG:4326"):
            map_to_position(raster, [9.0, 500.0], [47.0, 95.0], "EPSG:4326")


def test_an_unknown_crs_is_refused(tmp_path: Path) -> None:
    with (
        open_raster(RASTERS["strips.tif"](tmp_path / "a.tif")) as raster,
        pytest.raises(InvalidParameterError, match="EPSG:999999"),
    ):
        pixel_to_map(raster, [0], [0], "EPSG:999999")


def test_another_planet_is_refused(shared_dir: Path) -> None:
    file = shared_dir / "data" / "geotiff-odd" / "images" / "cog_hirise_mars.tif"
    if not file.is_file():
        pytest.skip(f"no file {file}")
    with open_raster(file) as raster, pytest.raises(ClickError, match="no way from"):
        pixel_to_map(raster, [0], [0], "EPSG:4326")
