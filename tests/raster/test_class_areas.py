"""Areas of classes, against outlines of the same map, an equal-area projection, and the Earth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from affine import Affine
from awkward_rasters import write
from pyproj import Transformer
from rasterio.control import GroundControlPoint
from shapely.geometry import Polygon

from icss_core.errors import BandMismatchError
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.raster.class_areas import class_areas, raster_area
from icss_core.raster.polygons import polygons
from icss_core.raster.reader import open_raster

if TYPE_CHECKING:
    from pathlib import Path

LABELS = LabelSpace(
    classes=tuple(ClassInfo(name=name, colour=(1, 2, 3)) for name in ("background", "a", "b"))
)
WHOLE_EARTH = 510_065_621_724_088.0
"""Square metres, as GeographicLib has it for WGS 84."""


def blobs(height: int, width: int) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 3, (-(-height // 40), -(-width // 40))).astype(np.uint8)
    labels = coarse.repeat(40, 0).repeat(40, 1)[:height, :width]
    labels[:30, :50] = 255
    return labels


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32632", Affine(10, 0, 399_960, 0, -10, 5_000_040)),
        ("EPSG:3857", Affine(100, 0, 1_000_000, 0, -100, 8_000_000)),
        ("EPSG:3413", Affine(100, 0, -41_700, 0, -100, 30_300)),  # the pole within a block
        ("EPSG:4326", Affine(0.002, 0, 179.3, 0, -0.002, 66)),
        ("EPSG:32660", Affine(30, 5, 600_000, 4, -30, 7_000_000)),  # rotated, across the antimeridian
        ("EPSG:4326", Affine(0.002, 0, 8, 0, 0.002, 50)),  # south up
    ],
    ids=str,
)
def test_areas_add_up_to_those_of_the_outlines(crs: str, transform: Affine, tmp_path: Path) -> None:
    labels = blobs(600, 700)
    path = write(tmp_path / "map.tif", labels[None], crs=crs, transform=transform, nodata=255)
    found = class_areas(path)
    np.testing.assert_array_equal(found.pixels, np.bincount(labels.ravel(), minlength=256))
    expected = np.zeros(3)
    for feature in polygons(path, LABELS, include_background=True):
        expected[feature["properties"]["index"]] += feature["properties"]["area_m2"]
    # within a block all pixels count alike: a thousandth where their true size changes by a hundredth
    np.testing.assert_allclose(found.square_metres[:3], expected, rtol=2e-3)
    with open_raster(path) as raster:
        assert raster_area(raster) == pytest.approx(found.square_metres.sum(), rel=1e-4)


def test_area_is_that_of_an_equal_area_projection(tmp_path: Path) -> None:
    """A projection that keeps areas, of pyproj: Lambert's azimuthal around the middle of the map."""
    transform = Affine(20, 3, 500_000, 3, -20, 5_900_000)
    path = write(
        tmp_path / "map.tif", np.ones((1, 700, 900), np.uint8), crs="EPSG:32633", transform=transform
    )
    edge = [(c, r) for c, r in ((0, 0), (900, 0), (900, 700), (0, 700))]
    points = [
        transform @ (a[0] + s * (b[0] - a[0]), a[1] + s * (b[1] - a[1]))
        for a, b in zip(edge, [*edge[1:], edge[0]], strict=True)
        for s in np.arange(200) / 200
    ]
    lon, lat = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True).transform(
        *transform @ (450, 350)
    )
    equal_area = f"+proj=laea +lat_0={lat} +lon_0={lon} +datum=WGS84"
    x, y = Transformer.from_crs("EPSG:32633", equal_area, always_xy=True).transform(
        *zip(*points, strict=True)
    )
    assert class_areas(path).square_metres[1] == pytest.approx(Polygon(zip(x, y, strict=True)).area, rel=1e-5)


def test_the_whole_earth_has_its_area(tmp_path: Path) -> None:
    labels = np.zeros((900, 1800), np.uint8)
    labels[:450] = 1
    path = write(
        tmp_path / "map.tif", labels[None], crs="EPSG:4326", transform=Affine(0.2, 0, -180, 0, -0.2, 90)
    )
    found = class_areas(path).square_metres
    assert found.sum() == pytest.approx(WHOLE_EARTH, rel=1e-9)


@pytest.mark.parametrize("transform", [Affine.identity(), Affine(2, 1, 5, -1, 2, 5)], ids=["none", "no CRS"])
def test_map_that_lies_nowhere_has_pixels_alone(transform: Affine, tmp_path: Path) -> None:
    labels = blobs(600, 100)
    path = write(tmp_path / "map.tif", labels[None], crs=None, transform=transform)
    found = class_areas(path)
    np.testing.assert_array_equal(found.pixels, np.bincount(labels.ravel(), minlength=256))
    assert found.square_metres is None
    with open_raster(path) as raster:
        assert raster_area(raster) is None


def test_ground_control_points_place_a_map(tmp_path: Path) -> None:
    points = [GroundControlPoint(r, c, 8 + c * 1e-4, 50 - r * 1e-4) for r in (0, 500) for c in (0, 600)]
    path = write(tmp_path / "map.tif", np.ones((1, 500, 600), np.uint8), gcps=points, crs="EPSG:4326")
    same = write(
        tmp_path / "same.tif", np.ones((1, 500, 600), np.uint8), crs="EPSG:4326",
        transform=Affine(1e-4, 0, 8, 0, -1e-4, 50),
    )  # fmt: skip
    assert class_areas(path).square_metres[1] == pytest.approx(class_areas(same).square_metres[1], rel=1e-6)


def test_image_is_no_map(tmp_path: Path) -> None:
    path = write(tmp_path / "image.tif", np.ones((1, 4, 4), np.uint16))
    with pytest.raises(BandMismatchError, match="uint16"):
        class_areas(path)
