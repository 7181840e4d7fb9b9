import json

import numpy as np
import pytest
import shapely
from pyproj import Transformer
from raster.awkward_rasters import HEIGHT, RASTERS, WIDTH, values, write

from icss_core.clicks import scribbles_from_geojson
from icss_core.errors import ClickError, InvalidParameterError, UnknownClassError
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.raster.georeference import pixel_corner_to_map
from icss_core.raster.reader import open_raster
from icss_core.raster.source import ArraySource

SPACE = LabelSpace(
    classes=(
        ClassInfo(name="background", colour=(0, 0, 0)),
        ClassInfo(name="road", colour=(255, 0, 0)),
        ClassInfo(name="building", colour=(0, 0, 255)),
    )
)
ARRAY = ArraySource(np.ones((1, HEIGHT, WIDTH), np.uint8))
CENTRES = shapely.points(*(axis + 0.5 for axis in np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))))


def feature(coordinates, name="road", kind="LineString", **properties):
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": {"class": name, **properties}}


def collection(*features, **members):
    return {"type": "FeatureCollection", "features": list(features), **members}


def painted(features):
    """What should come out, and where that is certain, by distances from each pixel's centre."""
    mask, clear = np.full((HEIGHT, WIDTH), 255, np.uint8), np.ones((HEIGHT, WIDTH), bool)
    for one in features:
        geometry, properties = shapely.geometry.shape(one["geometry"]), one["properties"]
        if geometry.geom_type == "Point":
            near = np.zeros_like(clear)
            near[int(geometry.y), int(geometry.x)] = True
        else:
            half = properties.get("width", 3) / 2
            distance = shapely.distance(geometry, CENTRES)
            near = distance <= half
            clear &= abs(distance - half) > 0.004 * half
        mask[near] = SPACE.index(properties["class"])
    return mask, clear


LINES = [
    feature([[3.2, 4.1], [60.3, 80.7], [120.9, 30]]),
    feature(
        [[[10, 100], [90.5, 101]], [[50.1, 60], [50.2, 145.5], [-30, 160]]], "Building", "MultiLineString"
    ),
    feature([40.5, 41.9], "building", "Point"),
    feature([[-20, 75.3, 11], [200, 76.8, 12]], "background", width=7.5),
]
"""In pixels, (column, row)."""


def placed_on_map(one, raster, crs):
    """A feature in pixels as one on the map: the raster's own matrix, then PROJ."""
    to_crs = Transformer.from_crs(raster.gcps_crs or raster.crs, crs, always_xy=True)

    def moved(cols, rows):
        return to_crs.transform(*pixel_corner_to_map(raster, np.asarray(rows), np.asarray(cols)))

    geometry = shapely.force_2d(shapely.geometry.shape(one["geometry"]))
    placed = shapely.transform(geometry, lambda points: np.column_stack(moved(points[:, 0], points[:, 1])))
    return {**one, "geometry": shapely.geometry.mapping(placed)}


def test_pixels_near_a_line_have_its_class_and_later_features_win():
    expected, clear = painted(LINES)
    found = scribbles_from_geojson(collection(*LINES), ARRAY, SPACE, crs="pixel")
    assert found.dtype == np.uint8
    assert clear.mean() > 0.98
    assert np.array_equal(found[clear], expected[clear])
    assert set(np.unique(found)) == {0, 1, 2, 255}
    last_first = scribbles_from_geojson(collection(*reversed(LINES)), ARRAY, SPACE, crs="pixel")
    expected, _ = painted(list(reversed(LINES)))
    assert np.array_equal(last_first[clear], expected[clear])


@pytest.mark.parametrize(
    "name", ["strips.tif", "non_square_pixels.tif", "rotated.tif", "south_up.tif", "gcps.tif", "cog.tif"]
)
@pytest.mark.parametrize("crs", [None, "EPSG:4326", "EPSG:3857", "EPSG:32632"])
def test_lines_lie_where_the_map_says(tmp_path, name, crs):
    expected = scribbles_from_geojson(collection(*LINES), ARRAY, SPACE, crs="pixel")
    _, clear = painted(LINES)
    with open_raster(RASTERS[name](tmp_path / name)) as raster:
        drawn = collection(*(placed_on_map(one, raster, crs or "EPSG:4326") for one in LINES))
        drawn = json.loads(json.dumps(drawn))
        found = scribbles_from_geojson(drawn, raster, SPACE, crs=crs)
        assert np.array_equal(found[clear], expected[clear])
        if crs is not None:
            drawn["crs"] = {"type": "name", "properties": {"name": crs}}
            assert np.array_equal(scribbles_from_geojson(drawn, raster, SPACE), found)


def test_a_file_may_say_itself_that_it_is_in_pixels_and_the_caller_how_wide_lines_are():
    member = {"type": "name", "properties": {"name": "pixel"}}
    drawn = collection(feature([[5, 5], [5, 20]]), crs=member)
    assert (scribbles_from_geojson(drawn, ARRAY, SPACE)[10] == 1).sum() in (3, 4)
    assert (scribbles_from_geojson(drawn, ARRAY, SPACE, width=8)[10] == 1).sum() in (8, 9)


def test_pixels_without_data_stay_without_label(tmp_path):
    """The first 40 rows and 30 columns are nodata."""
    with open_raster(RASTERS["nodata_0.tif"](tmp_path / "a.tif")) as raster:
        mask = scribbles_from_geojson(
            collection(feature([[10.5, 0], [10.5, 60]])), raster, SPACE, crs="pixel"
        )
        assert (mask[:40] == 255).all()
        assert (mask[40:60, 10] == 1).all()
        hidden = collection(LINES[2], feature([[10.5, 0], [10.5, 20]]))
        with pytest.raises(ClickError, match=r"without data: feature 1 at \(10\.5, 0\); draw where"):
            scribbles_from_geojson(hidden, raster, SPACE, crs="pixel")


@pytest.mark.parametrize(
    "coordinates",
    [[[-9, 5], [-9, 90]], [[200, 5], [300, 300]], [[5, -2], [50, -2]], [[1e300, 5], [-1e300, 5]]],
)
def test_a_line_that_touches_no_pixel_is_refused_by_name(coordinates):
    drawn = collection(LINES[0], feature(coordinates))
    with pytest.raises(ClickError, match=r"off the raster of 150 rows and 133 columns: feature 1 at \("):
        scribbles_from_geojson(drawn, ARRAY, SPACE, crs="pixel")


def test_a_point_off_the_raster_is_refused_by_name():
    with pytest.raises(ClickError, match=r"feature 0 at \(133, 5\); .*taken as \(column, row\)$"):
        scribbles_from_geojson(collection(feature([133, 5], kind="Point")), ARRAY, SPACE, crs="pixel")


def test_likely_mistakes_are_named(tmp_path):
    with open_raster(RASTERS["strips.tif"](tmp_path / "a.tif")) as raster:
        placed = placed_on_map(feature([[5.5, 5], [50, 50]]), raster, "EPSG:4326")
        swapped = [[y, x] for x, y in placed["geometry"]["coordinates"]]
        with pytest.raises(ClickError, match=r"feature 1 .*look swapped"):
            scribbles_from_geojson(collection(placed, feature(swapped)), raster, SPACE)
        metres = feature([[500_001, 5_299_990], [500_002, 5_299_980]])
        with pytest.raises(ClickError, match=r"feature 1 at .*name the CRS"):
            scribbles_from_geojson(collection(placed, metres), raster, SPACE)
        with pytest.raises(ClickError, match="feature 0 cannot be placed"):
            scribbles_from_geojson(collection(feature([[9, 48], [99, 0]])), raster, SPACE)
        with pytest.raises(InvalidParameterError, match="EPSG:99"):
            scribbles_from_geojson(collection(placed), raster, SPACE, crs="EPSG:99")
    path = write(tmp_path / "b.tif", values(1, "uint8"), crs=None, transform=None)
    with open_raster(path) as nowhere, pytest.raises(InvalidParameterError, match="no georeference"):
        scribbles_from_geojson(collection(placed), nowhere, SPACE)
    with pytest.raises(InvalidParameterError, match="pixel"):
        scribbles_from_geojson(collection(placed), ARRAY, SPACE)


def test_every_geometry_of_lines_and_points_is_scribbles():
    lines = [[[5, 5], [40, 5, 9.5]], [[5, 20], [40, 20]]]
    apart = collection(*(feature(line) for line in lines), feature([60, 30], kind="Point"))
    expected = scribbles_from_geojson(apart, ARRAY, SPACE, crs="pixel")
    members = [
        {"type": "MultiLineString", "coordinates": lines},
        {"type": "MultiPoint", "coordinates": [[60, 30]]},
    ]
    together = feature(None)
    together["geometry"] = {"type": "GeometryCollection", "geometries": members}
    for document in (together, collection(together)):
        assert np.array_equal(scribbles_from_geojson(document, ARRAY, SPACE, crs="pixel"), expected)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([], "scribbles must be .* of LineStrings and Points, not 'list'"),
        (collection(), "no scribble at all: .*draw at least one line"),
        (
            collection(LINES[0], 7),
            "feature 1: a Feature with a geometry of type LineString or Point",
        ),
        (
            collection(feature([[[0, 0], [1, 1], [1, 0], [0, 0]]], kind="Polygon")),
            "0: its geometry is a 'Polygon'",
        ),
        (collection(feature([[1, 1]])), "feature 0: a line is a list of at least two"),
        (collection(feature([1, 1])), "feature 0: coordinates must be two numbers"),
        (collection(feature("abc")), "feature 0: a line is a list"),
        (collection(feature([], kind="MultiLineString")), "feature 0: its MultiLineString is empty"),
        (
            collection(feature([[[1, 1], [2, 2]], [[1, 1]]], kind="MultiLineString")),
            "feature 0, line 1: a line is",
        ),
        (collection(feature([[1, 1], [2, float("nan")]])), "feature 0: .*finite"),
        (
            collection(feature([[1, 2], [2, 2]], None)),
            r"feature 0 at \(1.0, 2.0\): it needs a property 'class'",
        ),
        *(
            (
                collection(feature([[1, 2], [2, 2]], width=width)),
                "feature 0: the width of a line is from 1 to 1000",
            )
            for width in (0, 0.5, 1001, "3", True, float("nan"))
        ),
    ],
)
def test_malformed_collections_are_refused_by_name(value, match):
    with pytest.raises(ClickError, match=match):
        scribbles_from_geojson(value, ARRAY, SPACE, crs="pixel")


def test_unknown_class_is_refused_by_name():
    drawn = collection(LINES[0], feature([[2, 3], [4, 5]], "pool"))
    with pytest.raises(UnknownClassError, match=r"feature 1 at \(2.0, 3.0\): unknown class 'pool'.*building"):
        scribbles_from_geojson(drawn, ARRAY, SPACE, crs="pixel")
