"""Outlines on the round Earth: edges judged by pyproj, areas by equal-area projections, cuts by shapely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from awkward_rasters import write
from pyproj import Transformer
from shapely.affinity import translate
from shapely.geometry import shape

from icss_core.labels import ClassInfo, LabelSpace
from icss_core.raster.polygons import polygons

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

LABELS = LabelSpace(classes=tuple(ClassInfo(name=name, colour=(1, 2, 3)) for name in ("background", "road")))
WHOLE_EARTH = 510_065_621_724_088.0
"""Square metres, as GeographicLib has it for WGS 84."""
ROTATED = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +datum=WGS84"
SQUARE = np.ones((40, 40), np.uint8)
FRAME = np.pad(np.zeros((10, 10), np.uint8), 15, constant_values=1)


def outlines(folder: Path, labels: NDArray[np.uint8], crs: str, transform: Affine) -> list[dict[str, Any]]:
    path = write(folder / "map.tif", labels[None], crs=crs, transform=transform, compress="deflate")
    return list(polygons(path, LABELS))


def empty_map(folder: Path, size: int, crs: str, transform: Affine) -> Path:
    """A map of nothing but background, whose pixels take no room."""
    path = folder / "map.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=size, height=size, count=1, dtype="uint8", crs=crs,
        transform=transform, tiled=True, sparse_ok=True,
    ):  # fmt: skip
        return path


@pytest.mark.parametrize(
    ("crs", "pixel", "size", "x", "y"),
    [
        ("EPSG:32632", 10, 10980, 399_960, 5_000_040),  # a tile of Sentinel-2
        ("EPSG:32633", 500, 200, 399_960, 8_000_040),
        ("EPSG:3857", 100, 3000, 1_000_000, 7_000_000),
        ("EPSG:2154", 1000, 1000, 100_000, 7_100_000),
        ("EPSG:3413", 100, 2000, 300_000, -300_000),
        ("EPSG:3413", 100, 2000, -100_000, 100_000),  # the pole in its middle
        ("EPSG:4314", 0.01, 1000, 8, 50),
        (ROTATED, 0.1, 300, -150, 30),  # degrees, but of another pole
        ("EPSG:32660", 30, 3000, 600_000, 7_000_000),  # across the antimeridian
    ],
)
@pytest.mark.parametrize("turn", [0, 20])
def test_edges_stay_within_a_tenth_of_a_pixel(
    crs: str, pixel: float, size: int, x: float, y: float, turn: float, tmp_path: Path
) -> None:
    transform = Affine(pixel, 0, x, 0, -pixel, y) @ Affine.rotation(turn)
    (feature,) = polygons(empty_map(tmp_path, size, crs, transform), LABELS, include_background=True)
    geometry = shape(feature["geometry"])
    assert geometry.is_valid
    assert shapely.get_num_coordinates(geometry) < 1200
    back = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    border = shapely.box(0, 0, size, size).exterior
    drawn = []
    for part in getattr(geometry, "geoms", [geometry]):
        # edges of GeoJSON are straight in longitude and latitude
        lon, lat = np.asarray(shapely.segmentize(part.exterior, part.length / 3000).coords).T
        on_earth = (abs(abs(lon) - 180) > 1e-6) & (abs(lat) < 89.9999)  # there it is cut, not drawn
        pixels = np.column_stack(~transform @ back.transform(lon, lat))
        assert shapely.distance(shapely.points(pixels[on_earth]), border).max() < 0.1
        steps = shapely.linestrings(np.stack([pixels[:-1], pixels[1:]], axis=1))
        drawn += list(steps[shapely.length(steps) < size / 20])
    true = shapely.points(np.asarray(shapely.segmentize(border, size / 300).coords))
    assert shapely.distance(true, shapely.MultiLineString(drawn)).max() < 0.1


@pytest.mark.parametrize(("crs", "x"), [("EPSG:4326", 10), ("EPSG:4326", 179), ("EPSG:4267", 350)])
def test_a_strip_along_a_parallel_has_the_area_of_its_parallels(crs: str, x: float, tmp_path: Path) -> None:
    """A geodesic between its corners would run far to the north of it."""
    labels = np.zeros((10, 900), np.uint8)
    labels[4:6] = 1
    (feature,) = outlines(tmp_path, labels, crs, Affine(0.02, 0, x, 0, -0.02, 60.12))
    to_equal_area = Transformer.from_crs("EPSG:4326", "EPSG:6933", always_xy=True)
    _, (north, south) = to_equal_area.transform([0, 0], [60.12 - 0.08, 60.12 - 0.12])
    width = to_equal_area.transform(18, 60)[0]
    # NAD 27 is another ellipsoid, whose parallels are some metres off
    assert feature["properties"]["area_m2"] == pytest.approx(
        width * (north - south), rel=1e-9 if crs == "EPSG:4326" else 1e-3
    )


@pytest.mark.parametrize(
    ("crs", "equal_area", "pixel", "x", "y"),
    [
        ("EPSG:32632", "EPSG:3035", 50, 399_960, 5_000_040),
        ("EPSG:3413", "EPSG:6931", 5000, -100_300, 100_200),  # the pole on it
        ("EPSG:3031", "EPSG:6932", 5000, -100_000, 100_000),  # the pole on a corner of pixels
        ("EPSG:3031", "EPSG:6932", 5000, -100_000, -400_000),
    ],
)
def test_areas_are_those_of_an_equal_area_projection(
    crs: str, equal_area: str, pixel: float, x: float, y: float, tmp_path: Path
) -> None:
    transform = Affine(pixel, 0, x, 0, -pixel, y)
    features = outlines(tmp_path, np.where(FRAME == 1, FRAME, 255), crs, transform)
    (feature,) = features
    forward = Transformer.from_crs(crs, equal_area, always_xy=True)
    true = 0.0
    for sign, (low, high) in ((1, (0, 40)), (-1, (15, 25))):
        ring = np.asarray(shapely.segmentize(shapely.box(low, low, high, high).exterior, 0.02).coords)
        true += sign * shapely.Polygon(np.column_stack(forward.transform(*transform @ ring.T))).area
    # a hundredth of a pixel along 160 of the outer ring and 40 of the inner one
    assert feature["properties"]["area_m2"] == pytest.approx(true, abs=0.01 * 200 * pixel**2)
    assert shape(feature["geometry"]).is_valid


def test_the_whole_earth_has_its_area(tmp_path: Path) -> None:
    for name, (crs, transform) in {
        "degrees": ("EPSG:4326", Affine(1, 0, 0, 0, -1, 90)),
        "half a pixel beyond the poles": ("EPSG:4326", Affine(1, 0, -180.5, 0, -181 / 180, 90.5)),
    }.items():
        (feature,) = outlines(tmp_path, np.ones((180, 360), np.uint8), crs, transform)
        assert feature["properties"]["area_m2"] == pytest.approx(WHOLE_EARTH, rel=1e-12), name
        assert shape(feature["geometry"]).equals(shapely.box(-180, -90, 180, 90)), name


def test_a_map_of_the_world_reaches_around_it(tmp_path: Path) -> None:
    half = 20_037_508.342789244
    (feature,) = outlines(
        tmp_path, SQUARE, "EPSG:3857", Affine(half / 20, 0, -half, 0, -half / 20, half)
    )  # fmt: skip
    edge = 85.0511287798066
    assert shape(feature["geometry"]).symmetric_difference(shapely.box(-180, -edge, 180, edge)).area < 1e-6


def around(geometry: BaseGeometry) -> BaseGeometry:
    """With longitudes from 0 to 360."""
    parts = [translate(part, 360 * (part.bounds[0] < 0)) for part in getattr(geometry, "geoms", [geometry])]
    return shapely.union_all(parts)


@pytest.mark.parametrize(
    ("crs", "pixel", "x", "y"),
    [
        ("EPSG:4326", 0.01, 179.8, 10),
        ("EPSG:4326", 0.01, -180.2, 10),
        ("EPSG:4326", 0.01, 180, 10),
        ("EPSG:4267", 0.01, 179.8, 50),
        ("EPSG:3832", 1000, 3_320_000, 1_000_000),
        ("EPSG:32660", 500, 815_000, 1_000_000),
        ("EPSG:32701", 500, 165_000, 8_000_000),
        ("EPSG:3857", 1000, 20_017_508, 1_000_000),
    ],
)
@pytest.mark.parametrize("labels", [SQUARE, FRAME], ids=["square", "frame"])
def test_what_crosses_the_antimeridian_is_cut_there(
    labels: NDArray[np.uint8], crs: str, pixel: float, x: float, y: float, tmp_path: Path
) -> None:
    transform = Affine(pixel, 0, x, 0, -pixel, y)
    (feature,) = outlines(tmp_path, np.where(labels == 1, labels, 255), crs, transform)
    geometry = shape(feature["geometry"])
    assert geometry.is_valid
    assert geometry.bounds[0] >= -180
    assert geometry.bounds[2] <= 180
    parts = list(getattr(geometry, "geoms", [geometry]))
    assert len(parts) == (1 if x == 180 else 2), "and no slivers"
    assert all(part.exterior.is_ccw for part in parts)
    assert not any(hole.is_ccw for part in parts for hole in part.interiors)
    forward = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    true = shapely.box(0, 0, 40, 40) - (
        shapely.box(15, 15, 25, 25) if labels is FRAME else shapely.Point(-9, 0)
    )

    def placed(points: NDArray[np.float64]) -> NDArray[np.float64]:
        lon, lat = forward.transform(*transform @ points.T)
        return np.column_stack([lon % 360, lat])

    expected = shapely.transform(shapely.segmentize(true, 0.25), placed)
    degrees = np.sqrt(expected.area / true.area)
    assert around(geometry).symmetric_difference(expected).area < 0.1 * degrees * expected.length
    assert around(geometry).hausdorff_distance(expected) < 0.3 * degrees


def test_single_pixels_around_a_pole_cover_it_once(tmp_path: Path) -> None:
    labels = np.indices((6, 6)).sum(axis=0) % 2
    transform = Affine(25_000, 0, -75_000, 0, -25_000, 75_000)
    path = write(tmp_path / "map.tif", labels.astype(np.uint8)[None], crs="EPSG:3031", transform=transform)
    features = list(polygons(path, LABELS, include_background=True))
    assert len(features) == 36
    geometries = [shape(feature["geometry"]) for feature in features]
    assert all(geometry.is_valid for geometry in geometries)
    together = shapely.union_all(geometries)
    assert sum(geometry.area for geometry in geometries) == pytest.approx(together.area, rel=1e-3)
    for longitude in (-179.9, -135, -10, 80, 179.9):
        assert together.buffer(1e-9).contains(shapely.Point(longitude, -89.99))
