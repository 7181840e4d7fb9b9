from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine
from awkward_rasters import HEIGHT, RASTERS, WIDTH, write
from pyproj import Transformer
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

from icss_core.errors import ClickError, InvalidParameterError
from icss_core.raster.georeference import floored, full_turn, map_to_position, pixel_to_map
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


TURNED = {
    "beyond 180": ("EPSG:4326", Affine(0.01, 0, 179.6, 0, -0.01, -17)),
    "0 to 360": ("EPSG:4326", Affine(0.01, 0, 200, 0, -0.01, -17)),
    "below -180": ("EPSG:4326", Affine(0.01, 0, -180.4, 0, -0.01, -17)),
    "two turns": ("EPSG:4326", Affine(0.01, 0, 539.6, 0, -0.01, -17)),
    "grads": ("EPSG:4807", Affine(0.01, 0, 197, 0, -0.01, -18)),
    "another datum": ("EPSG:4267", Affine(0.01, 0, 179.6, 0, -0.01, 50)),
    "Pacific Mercator": ("EPSG:3832", Affine(1000, 0, 3_300_000, 0, -1000, -1_900_000)),
    "UTM zone 60": ("EPSG:32660", Affine(1000, 0, 780_000, 0, -1000, 7_000_000)),
    "UTM zone 1": ("EPSG:32701", Affine(1000, 0, 160_000, 0, -1000, 8_000_000)),
    "Web Mercator beyond its edge": ("EPSG:3857", Affine(1000, 0, 20_000_000, 0, -1000, -1_900_000)),
    "plate carree beyond its edge": ("EPSG:4087", Affine(1000, 0, -20_070_000, 0, -1000, 1_000_000)),
}


@pytest.mark.parametrize("name", TURNED)
def test_longitudes_that_are_turns_apart_are_one_place(name: str, tmp_path: Path) -> None:
    """As pyproj has the pixels' places, and a turn before and after those."""
    crs, transform = TURNED[name]
    path = write(tmp_path / "a.tif", np.zeros((1, 60, 80), np.uint8), crs=crs, transform=transform)
    rows, cols = np.array([5.5, 30, 59.5, 0.5]), np.array([60.5, 2, 79.5, 0.5])
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(*transform @ np.stack([cols, rows]))
    with open_raster(path) as raster:
        for turns in (-360, 0, 360):
            back_rows, back_cols = map_to_position(raster, lon + turns, lat, "EPSG:4326")
            np.testing.assert_allclose(back_rows, rows, atol=1e-4)
            np.testing.assert_allclose(back_cols, cols, atol=1e-4)
        # what lies elsewhere does so in any turn
        off_rows, off_cols = map_to_position(raster, lon - 90, lat, "EPSG:4326")
    assert not ((off_rows >= 0) & (off_rows < 60) & (off_cols >= 0) & (off_cols < 80)).any()


@pytest.mark.parametrize(
    ("crs", "turn"),
    [
        ("EPSG:4326", 360),
        ("EPSG:4807", 400),
        ("EPSG:3857", 2 * np.pi * 6_378_137),
        ("EPSG:3832", 2 * np.pi * 6_378_137),
        ("EPSG:6933", 34_735_061.0),
        ("EPSG:32632", None),
        ("EPSG:2154", None),
        ("EPSG:3031", None),
        ("ESRI:54009", None),
        ("ESRI:54008", None),
    ],
)
def test_x_comes_back_in_longitude_and_cylindrical_projections(crs: str, turn: float | None) -> None:
    assert full_turn(rasterio.crs.CRS.from_string(crs)) == (turn and pytest.approx(turn, rel=1e-6))


def test_control_points_count_on_beyond_180(tmp_path: Path) -> None:
    points = [
        GroundControlPoint(row, col, 179.6 + col / 100, -17 - row / 100)
        for row, col in ((0, 0), (0, 80), (60, 0), (60, 80))
    ]
    path = write(
        tmp_path / "a.tif", np.zeros((1, 60, 80), np.uint8), crs="EPSG:4326", transform=None, gcps=points
    )
    with open_raster(path) as raster:
        rows, cols = map_to_position(raster, [-179.795, 179.705], [-17.055, -17.055], "EPSG:4326")
    np.testing.assert_allclose((*rows, *cols), (5.5, 5.5, 60.5, 10.5), atol=1e-6)


def test_a_raster_with_rpcs_alone_says_what_to_do(tmp_path: Path) -> None:
    coefficients = [1.0, *[0.0] * 19]
    rpcs = RPC(
        height_off=0, height_scale=1, lat_off=0, lat_scale=1, line_den_coeff=coefficients,
        line_num_coeff=coefficients, line_off=1, line_scale=1, long_off=0, long_scale=1,
        samp_den_coeff=coefficients, samp_num_coeff=coefficients, samp_off=1, samp_scale=1,
    )  # fmt: skip
    path = write(tmp_path / "a.tif", np.zeros((1, 9, 9), np.uint8), crs=None, transform=None, rpcs=rpcs)
    with (
        open_raster(path) as raster,
        pytest.raises(InvalidParameterError, match=r"but the RPCs of its sensor.*gdalwarp -rpc"),
    ):
        map_to_position(raster, [1.0], [2.0], "EPSG:4326")


def test_a_transform_without_crs_is_told_from_no_place(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.zeros((1, 9, 9), np.uint8), crs=None)
    with open_raster(path) as raster, pytest.raises(InvalidParameterError, match="no CRS says in what"):
        map_to_position(raster, [1.0], [2.0], "EPSG:4326")
