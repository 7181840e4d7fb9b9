from __future__ import annotations

import json
import unicodedata
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.warp import transform as reproject

from icss_core.clicks.click_set import ClickSet
from icss_core.clicks.geojson import clicks_from_geojson, clicks_to_geojson
from icss_core.errors import ClickError, InvalidParameterError, UnknownClassError
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.raster.reader import Raster, open_raster
from icss_core.raster.source import ArraySource, Pixels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from icss_core.raster.windows import Window

HEIGHT, WIDTH = 60, 90
SPACE = LabelSpace(
    classes=(
        ClassInfo(name="background", colour=(0, 0, 0)),
        ClassInfo(name="road", colour=(255, 0, 0)),
        ClassInfo(name="building", colour=(0, 0, 255)),
    )
)
NORTH_UP = Affine(0.5, 0, 370_000, 0, -0.5, 4_800_000)
ROTATED = Affine.translation(370_000, 4_800_000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.7)
GEOREFERENCES = {
    "utm": {"crs": "EPSG:32631", "transform": NORTH_UP},
    "utm rotated, pixels not square": {"crs": "EPSG:32631", "transform": ROTATED},
    "utm south-up": {"crs": "EPSG:32631", "transform": Affine(0.5, 0, 370_000, 0, 0.5, 4_800_000)},
    "lon lat": {"crs": "EPSG:4326", "transform": Affine(1e-5, 0, 1.44, 0, -1e-5, 43.6)},
    "web mercator": {"crs": "EPSG:3857", "transform": Affine(0.3, 0, 160_000, 0, -0.3, 5_400_000)},
    "none": {},
}
"""Toulouse or so, in the ways images come."""


@contextmanager
def raster(folder: Path, name: str = "utm", *, nodata: tuple[slice, slice] | None = None) -> Iterator[Raster]:
    values = np.full((3, HEIGHT, WIDTH), 7, np.uint8)
    if nodata is not None:
        values[:, *nodata] = 0
    profile = GEOREFERENCES[name] | {
        "count": 3,
        "height": HEIGHT,
        "width": WIDTH,
        "dtype": "uint8",
        "nodata": 0,
    }
    path = folder / "image.tif"
    with rasterio.Env(), rasterio.open(path, "w", driver="GTiff", **profile) as file:
        file.write(values)
    with open_raster(path) as opened:
        yield opened


def feature(x: object, y: object, name: object = "road") -> dict[str, Any]:
    geometry = {"type": "Point", "coordinates": [x, y]}
    return {"type": "Feature", "geometry": geometry, "properties": {"class": name}}


def shape(kind: str, coordinates: object, name: object = "road") -> dict[str, Any]:
    return feature(0, 0, name) | {"geometry": {"type": kind, "coordinates": coordinates}}


def gathered(*geometries: object) -> dict[str, Any]:
    return feature(0, 0) | {"geometry": {"type": "GeometryCollection", "geometries": list(geometries)}}


def nested(depth: int) -> dict[str, Any]:
    made = shape("Point", [1, 2])
    for _ in range(depth):
        made = gathered(made["geometry"])
    return made


def collection(*features: object, **members: object) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features), **members}


def random_clicks(n: int = 200) -> ClickSet:
    generator = np.random.default_rng(0)
    return ClickSet(*(generator.integers(0, high, n) for high in (HEIGHT, WIDTH, 3)))


ARRAY = ArraySource(np.ones((1, HEIGHT, WIDTH), np.uint8))


@pytest.mark.filterwarnings(
    # rasterio says so of a file that is meant to have none
    "ignore::rasterio.errors.NotGeoreferencedWarning"
)
@pytest.mark.parametrize(
    ("name", "crs"),
    [
        (name, crs)
        for name in GEOREFERENCES
        for crs in (None, "EPSG:4326", "EPSG:32631", "EPSG:3857", "pixel")
        if name != "none" or crs == "pixel"
    ],
)
def test_clicks_survive_the_way_out_and_back(tmp_path, name, crs):
    clicks = random_clicks()
    with raster(tmp_path, name) as image:
        written = json.loads(json.dumps(clicks_to_geojson(clicks, image, SPACE, crs=crs)))
        assert clicks_from_geojson(written, image, SPACE, crs=crs) == clicks
        if crs != "pixel":  # another CRS is named in the file
            assert clicks_from_geojson(written, image, SPACE) == clicks


def test_ground_control_points_place_clicks(tmp_path):
    path = tmp_path / "gcps.tif"
    corners = [(0, 0), (0, WIDTH), (HEIGHT, 0), (HEIGHT, WIDTH)]
    points = [GroundControlPoint(r, c, *(NORTH_UP @ (c, r))) for r, c in corners]
    profile = {"driver": "GTiff", "count": 1, "height": HEIGHT, "width": WIDTH, "dtype": "uint8"}
    with rasterio.open(path, "w", gcps=points, crs="EPSG:32631", **profile) as file:
        file.write(np.ones((1, HEIGHT, WIDTH), np.uint8))
    clicks = random_clicks(50)
    with open_raster(path) as image:
        written = clicks_to_geojson(clicks, image, SPACE)
        assert clicks_from_geojson(written, image, SPACE) == clicks


@pytest.mark.parametrize("name", ["utm", "utm rotated, pixels not square"])
def test_positions_are_those_of_rasterio(tmp_path, name):
    """Independent of our own projection: pixel centres by the affine matrix, then PROJ."""
    clicks = random_clicks(30)
    xs, ys = GEOREFERENCES[name]["transform"] @ (clicks.cols + 0.5, clicks.rows + 0.5)
    lon, lat = reproject(CRS.from_epsg(32631), CRS.from_epsg(4326), xs, ys)
    named = [SPACE.names[label] for label in clicks.labels]
    features = [feature(x, y, label) for x, y, label in zip(lon, lat, named, strict=True)]
    with raster(tmp_path, name) as image:
        assert clicks_from_geojson(collection(*features), image, SPACE) == clicks
        (x, y) = clicks_to_geojson(clicks, image, SPACE)["features"][0]["geometry"]["coordinates"]
    assert (x, y) == pytest.approx((lon[0], lat[0]), abs=1e-9)


def test_pixel_coordinates_are_column_then_row_and_may_be_fractions():
    points = [feature(3, 1), feature(89.99, 59.5, "Building"), feature(0.0, 0.0, "background")]
    clicks = clicks_from_geojson(collection(*points), ARRAY, SPACE, crs="pixel")
    assert clicks.rows.tolist() == [1, 59, 0]
    assert clicks.cols.tolist() == [3, 89, 0]
    assert clicks.labels.tolist() == [1, 2, 0]


def test_last_click_on_a_pixel_wins():
    points = [feature(3.1, 1.1), feature(3.9, 1.9, "building")]
    clicks = clicks_from_geojson(collection(*points), ARRAY, SPACE, crs="pixel")
    assert clicks.counts() == {2: 1}


def test_altitude_is_ignored():
    point = feature(3, 1)
    point["geometry"]["coordinates"].append(150.0)
    assert len(clicks_from_geojson(collection(point), ARRAY, SPACE, crs="pixel")) == 1


def test_every_geometry_of_points_is_clicks():
    """As desktop GIS export a layer of points; Z and M are ignored."""
    points = [[1, 2], [3.5, 4, 120.0], [5, 6, 0, 9]]
    many = shape("MultiPoint", points)
    several = [
        gathered(*(shape("Point", point)["geometry"] for point in points)),
        gathered(shape("MultiPoint", points[:2])["geometry"], shape("Point", points[2])["geometry"]),
        gathered(gathered(many["geometry"])["geometry"]),
    ]
    expected = ClickSet([2, 4, 6], [1, 3, 5], [1, 1, 1])
    for document in (many, collection(many), many["geometry"] | {"properties": {"class": "Road"}}, *several):
        assert clicks_from_geojson(document, ARRAY, SPACE, crs="pixel") == expected
    assert len(clicks_from_geojson(collection(many, feature(8, 8)), ARRAY, SPACE, crs="pixel", limit=4)) == 4
    with pytest.raises(ClickError, match="4 clicks; 3 are accepted"):
        clicks_from_geojson(collection(many, feature(8, 8)), ARRAY, SPACE, crs="pixel", limit=3)
    with pytest.raises(ClickError, match=r"feature 1, point 2 at \(95, 6\), row 6, column 95"):
        clicks_from_geojson(
            collection(feature(1, 1), shape("MultiPoint", [*points[:2], [95, 6]])), ARRAY, SPACE, crs="pixel"
        )
    with pytest.raises(ClickError, match=r"feature 0, point 1 at \(500, 6\) is no longitude"):
        clicks_from_geojson(collection(shape("MultiPoint", [[9, 9], [500, 6]])), ARRAY, SPACE)


def test_classes_are_found_in_every_spelling():
    space = SPACE.extend(ClassInfo(name="Hôpital", colour=(1, 2, 3)))
    points = [feature(1, 1, name) for name in ("hôpital", unicodedata.normalize("NFD", "HÔPITAL "))]
    assert clicks_from_geojson(collection(*points), ARRAY, space, crs="pixel").labels.tolist() == [3]


def test_old_crs_member_is_honoured_and_the_callers_word_is_stronger(tmp_path):
    x, y = NORTH_UP @ (10.5, 20.5)
    member = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}
    with raster(tmp_path) as image:
        clicks = clicks_from_geojson(collection(feature(x, y), crs=member), image, SPACE)
        assert (clicks.rows[0], clicks.cols[0]) == (20, 10)
        clicks = clicks_from_geojson(collection(feature(5, 6), crs=member), image, SPACE, crs="pixel")
        assert (clicks.rows[0], clicks.cols[0]) == (6, 5)
        assert len(clicks_from_geojson(collection(feature(5, 6), crs=None), image, SPACE, crs="pixel")) == 1
        with pytest.raises(ClickError, match="crs member"):
            clicks_from_geojson(collection(feature(5, 6), crs={"type": "link"}), image, SPACE)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([], "FeatureCollection of Points, not 'list'"),
        ({"type": "Feature"}, "feature 0: a Feature with a geometry"),
        ({"type": "Topology"}, "not 'Topology'"),
        ({"type": "Point", "coordinates": [1, 2]}, r"feature 0 at \(1.0, 2.0\): it needs a property 'class'"),
        (collection(shape("MultiPoint", [])), "feature 0: its MultiPoint is empty"),
        (collection(shape("MultiPoint", 7)), "feature 0: a MultiPoint has a list of parts, not 7"),
        (collection(shape("MultiPoint", [[1, 1], [2, "a"]])), "feature 0, point 1: .*two numbers"),
        (collection(shape("GeometryCollection", None)), "feature 0: a GeometryCollection has a list"),
        (collection(gathered(7)), "feature 0: 7 is no geometry"),
        (collection(gathered(*[gathered()["geometry"]])), "feature 0: its GeometryCollection is empty"),
        (collection(nested(20)), "feature 0: its geometry is a 'GeometryCollection'"),
        (
            collection(shape("MultiPolygon", [])),
            "feature 0: its geometry is a 'MultiPolygon'",
        ),
        (collection(shape("Point", [1, 2, 3, 4, 5])), "two numbers"),
        ({"type": "FeatureCollection"}, "no list of features"),
        ({"type": "FeatureCollection", "features": "abc"}, "no list of features"),
        (collection(), "no click at all"),
        (collection(feature(1, 1), 7), "feature 1: a Feature"),
        (collection({"type": "Feature", "geometry": None, "properties": {}}), "feature 0: a Feature"),
        (collection(feature(1, 1), feature(float("nan"), 2)), r"feature 1: .*finite.*\[nan, 2.0\]"),
        (collection(feature(1, float("inf"))), "finite"),
        (collection(feature(10**400, 1)), "feature 0: coordinates must be finite"),
        (collection(feature("1", 2)), "two numbers"),
        (collection(feature(x=True, y=2)), "two numbers"),
        (collection(feature([1, 2], 3)), "two numbers"),
        (collection(feature(1, 2, None)), r"feature 0 at \(1.0, 2.0\): it needs a property 'class'.*road"),
        (collection(feature(1, 2, 1)), "property 'class'"),
        (collection({**feature(1, 2), "properties": None}), "property 'class'"),
        (
            collection(
                feature(1, 2),
                {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}},
            ),
            "feature 1: its geometry is a 'LineString'; clicks are Points",
        ),
    ],
)
def test_malformed_collections_are_refused_by_name(value, match):
    with pytest.raises(ClickError, match=match):
        clicks_from_geojson(value, ARRAY, SPACE, crs="pixel")


def test_unknown_class_is_refused_by_name():
    with pytest.raises(UnknownClassError, match=r"feature 1 at \(2.0, 3.0\): unknown class 'pool'.*building"):
        clicks_from_geojson(collection(feature(1, 1), feature(2, 3, "pool")), ARRAY, SPACE, crs="pixel")


@pytest.mark.parametrize("point", [(-0.01, 5), (90, 5), (5, 60), (5, -1), (1e300, 5)])
def test_clicks_off_the_raster_are_refused_by_name(point):
    with pytest.raises(ClickError, match=r"off the raster of 60 rows and 90 columns: feature 1 at \("):
        clicks_from_geojson(collection(feature(1, 1), feature(*point)), ARRAY, SPACE, crs="pixel")


def test_many_clicks_off_the_raster_are_counted_not_listed():
    features = [feature(500, i) for i in range(50)]
    with pytest.raises(
        ClickError, match=r"feature 4 at .* and 45 more; .*taken as \(column, row\)"
    ) as raised:
        clicks_from_geojson(collection(*features), ARRAY, SPACE, crs="pixel")
    assert "feature 5 at" not in str(raised.value)


def test_likely_mistakes_are_named(tmp_path):
    with raster(tmp_path) as image:
        (lon, lat) = clicks_to_geojson(ClickSet([5], [5], [1]), image, SPACE)["features"][0]["geometry"][
            "coordinates"
        ]
        with pytest.raises(ClickError, match="look swapped"):
            clicks_from_geojson(collection(feature(lat, lon)), image, SPACE)
        with pytest.raises(ClickError, match="name the CRS"):
            clicks_from_geojson(collection(feature(370_002, 4_799_990)), image, SPACE)
        with pytest.raises(ClickError, match=r"taken as EPSG:4326$"):
            clicks_from_geojson(collection(feature(lon + 1, lat)), image, SPACE)
        with pytest.raises(InvalidParameterError, match="EPSG:99"):
            clicks_from_geojson(collection(feature(lon, lat)), image, SPACE, crs="EPSG:99")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # as above
def test_map_coordinates_need_a_georeference(tmp_path):
    with raster(tmp_path, "none") as image, pytest.raises(InvalidParameterError, match="no georeference"):
        clicks_from_geojson(collection(feature(1, 1)), image, SPACE)
    with pytest.raises(InvalidParameterError, match="pixel"):
        clicks_from_geojson(collection(feature(1, 1)), ARRAY, SPACE)
    with pytest.raises(InvalidParameterError, match="pixel"):
        clicks_to_geojson(ClickSet([1], [1], [1]), ARRAY, SPACE)


def test_clicks_on_nodata_are_refused_by_name(tmp_path):
    with raster(tmp_path, nodata=np.s_[10:20, 30:40]) as image:
        good = feature(29, 10)
        assert len(clicks_from_geojson(collection(good), image, SPACE, crs="pixel")) == 1
        with pytest.raises(ClickError, match=r"without data: feature 1 at \(35.5, 12\), row 12, column 35;"):
            clicks_from_geojson(collection(good, feature(35.5, 12)), image, SPACE, crs="pixel")


def test_thousands_of_clicks_read_little():
    class Counting:
        """An empty raster far larger than memory; remembers what was read."""

        height, width, bands, dtype = 200_000, 100_000, 3, "uint8"

        def __init__(self) -> None:
            self.windows: list[Window] = []

        def read(self, window: Window) -> Pixels:
            self.windows.append(window)
            shape = (window.height, window.width)
            return Pixels(np.ones((3, *shape), np.uint8), np.ones(shape, bool))

    generator = np.random.default_rng(0)
    spots = generator.integers(0, 99_000, (10, 2))
    features = [
        feature(int(x) + int(dx), int(y) + int(dy))
        for x, y in spots
        for dx, dy in generator.integers(0, 300, (500, 2))
    ]
    source = Counting()
    assert len(clicks_from_geojson(collection(*features), source, SPACE, crs="pixel")) > 4900
    assert len(source.windows) <= 4 * len(spots)
    assert all(window.height <= 512 and window.width <= 512 for window in source.windows)


def test_label_outside_the_label_space_cannot_be_written():
    with pytest.raises(ClickError, match="label 3"):
        clicks_to_geojson(ClickSet([1], [1], [3]), ARRAY, SPACE, crs="pixel")


def test_no_click_can_be_written():
    assert clicks_to_geojson(ClickSet.empty(), ARRAY, SPACE, crs="pixel")["features"] == []
