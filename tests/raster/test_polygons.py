from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from awkward_rasters import RASTERS, write
from rasterio.warp import transform
from shapely import Polygon
from shapely.geometry import shape

from icss_core.errors import (
    BandMismatchError,
    ImageNotFoundError,
    InvalidParameterError,
    OutlinesTooLargeError,
)
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.raster.cog import CogSink
from icss_core.raster.polygons import polygons, write_polygons
from icss_core.raster.reader import open_raster

if TYPE_CHECKING:
    from pathlib import Path

LABELS = LabelSpace(
    classes=(
        ClassInfo(name="background", colour=(0, 0, 0)),
        ClassInfo(name="road", colour=(200, 10, 10)),
        ClassInfo(name="building", colour=(10, 20, 250)),
    )
)


def collection_of(*arguments: object, **options: object) -> dict[str, Any]:
    """What `write_polygons` writes, read again."""
    file = io.BytesIO()
    written = write_polygons(file, *arguments, **options)
    collection = json.loads(file.getvalue())
    assert written == (len(collection["features"]), len(file.getvalue()))
    return collection


def class_map(folder: Path, source: str = "strips.tif", **profile: object) -> Path:
    """A map with a 40 x 20 pixel road, a building ring with a hole, single building pixels, and no data."""
    made = np.zeros((150, 133), np.uint8)
    made[10:30, 10:50] = 1
    made[60:90, 60:90] = 2
    made[70:80, 70:80] = 0
    made[100, 100] = made[101, 101] = 2
    made[140:] = 255
    if profile:
        path = write(folder / "source.tif", np.zeros((1, 150, 133), np.uint8), **profile)
    else:
        path = RASTERS[source](folder / source)
    out = folder / "map.tif"
    with open_raster(path) as raster, CogSink(out, like=raster, label_space=LABELS) as sink:
        sink.write(0, made, None)
    return out


def test_regions_have_class_colour_and_geodesic_area(tmp_path: Path) -> None:
    collection = collection_of(class_map(tmp_path), LABELS)
    # a generator, feature by feature
    assert json.loads(json.dumps(list(polygons(tmp_path / "map.tif", LABELS)))) == collection["features"]
    assert collection["type"] == "FeatureCollection"
    assert collection["coordinates"] == "EPSG:4326"
    found = sorted(
        (feature["properties"]["class"], round(feature["properties"]["area_m2"], 2))
        for feature in collection["features"]
    )
    # pixels of 0.25 m2 on the central meridian of UTM, whose scale there is 0.9996
    squared = 0.9996**2
    expected = [("building", 0.25), ("building", 0.25), ("building", 200.0), ("road", 200.0)]
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (_, area), (_, flat) in zip(found, expected, strict=True):
        assert area == pytest.approx(flat / squared, rel=1e-3, abs=0.006)
    assert {feature["properties"]["colour"] for feature in collection["features"]} == {"#c80a0a", "#0a14fa"}
    assert {feature["properties"]["index"] for feature in collection["features"]} == {1, 2}


def test_outlines_lie_where_the_pixels_are(tmp_path: Path) -> None:
    path = class_map(tmp_path)
    road = next(f for f in polygons(path, LABELS) if f["properties"]["class"] == "road")
    with rasterio.open(path) as file:
        corners = zip(file.transform @ (10, 10), file.transform @ (50, 30), strict=True)
        xs, ys = transform(file.crs, "EPSG:4326", *corners)
    bounds = shape(road["geometry"]).bounds
    np.testing.assert_allclose(bounds, (min(xs), min(ys), max(xs), max(ys)), atol=2e-8)


def test_rings_turn_as_rfc_7946_asks(tmp_path: Path) -> None:
    for feature in polygons(class_map(tmp_path), LABELS, include_background=True):
        geometry = shape(feature["geometry"])
        assert geometry.is_valid
        assert geometry.exterior.is_ccw
        assert not any(ring.is_ccw for ring in geometry.interiors)


def test_small_regions_and_background_are_left_out_as_asked(tmp_path: Path) -> None:
    path = class_map(tmp_path)
    assert len(list(polygons(path, LABELS, min_area=1.0))) == 2
    assert len(list(polygons(path, LABELS, min_area=1e6))) == 0
    everything = polygons(path, LABELS, include_background=True)
    total = sum(feature["properties"]["area_m2"] for feature in everything)
    assert total == pytest.approx(140 * 133 * 0.25 / 0.9996**2, rel=1e-4)


def test_without_georeference_coordinates_are_pixels_and_say_so(tmp_path: Path) -> None:
    collection = collection_of(class_map(tmp_path, "nowhere.tif"), LABELS, min_area=2)
    assert collection["coordinates"] == "pixel"
    road = next(f for f in collection["features"] if f["properties"]["class"] == "road")
    assert road["properties"]["area_pixels"] == 800
    assert shape(road["geometry"]).bounds == (10, 10, 50, 30)
    assert shape(road["geometry"]).exterior.is_ccw
    assert len(collection["features"]) == 2


def test_ground_control_points_place_outlines(tmp_path: Path) -> None:
    collection = collection_of(class_map(tmp_path, "gcps.tif"), LABELS, min_area=2)
    road = next(f for f in collection["features"] if f["properties"]["class"] == "road")
    np.testing.assert_allclose(
        shape(road["geometry"]).bounds, (9 + 10e-5, 48 - 30e-5, 9 + 50e-5, 48 - 10e-5), atol=1e-9
    )


def test_a_collection_of_too_many_bytes_is_not_written(tmp_path: Path) -> None:
    path = class_map(tmp_path)
    whole = io.BytesIO()
    size = write_polygons(whole, path, LABELS).bytes
    assert write_polygons(io.BytesIO(), path, LABELS, max_bytes=size).features == 4
    part = io.BytesIO()
    with pytest.raises(OutlinesTooLargeError, match=f"more than {size - 1} bytes .the first 3 fit"):
        write_polygons(part, path, LABELS, max_bytes=size - 1)
    assert len(part.getvalue()) < size
    assert whole.getvalue().startswith(part.getvalue())


def test_corners_are_counted_before_outlines_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a grid of single pixels are known; strips of the count overlap as they should."""
    monkeypatch.setattr("icss_core.raster.outlines._STRIP", 7)
    source = write(tmp_path / "source.tif", np.zeros((1, 41, 30), np.uint8))
    labels = np.zeros((41, 30), np.uint8)
    labels[1:-1:2, 1:-1:2] = 1
    corners = 4 * int(labels.sum())
    path = tmp_path / "map.tif"
    with open_raster(source) as raster, CogSink(path, like=raster, label_space=LABELS) as sink:
        sink.write(0, labels, None)
    monkeypatch.setattr("icss_core.raster.outlines.MAX_CORNERS", corners)
    assert sum(1 for _ in polygons(path, LABELS)) == labels.sum()
    monkeypatch.setattr("icss_core.raster.outlines.MAX_CORNERS", corners - 1)
    with pytest.raises(OutlinesTooLargeError, match="corners; take the map itself"):
        next(polygons(path, LABELS))


LOCAL = 'LOCAL_CS["site",UNIT["metre",1]]'
ENGINEERING = (
    'ENGCRS["site",EDATUM["stake"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
)


@pytest.mark.parametrize("crs", [None, LOCAL, ENGINEERING], ids=["none", "local", "engineering"])
@pytest.mark.parametrize("turn", [0, 30])
def test_a_place_in_no_crs_of_the_earth_gives_coordinates_of_the_map(
    crs: str | None, turn: float, tmp_path: Path
) -> None:
    """As world files give it: a transform, and nobody says of what."""
    placed = Affine(0.5, 0, 500_000, 0, -0.5, 5_300_000) @ Affine.rotation(turn)
    collection = collection_of(class_map(tmp_path, crs=crs, transform=placed), LABELS, min_area=0.5)
    assert collection["coordinates"] == "map"
    assert len(collection["features"]) == 2
    road = next(f for f in collection["features"] if f["properties"]["class"] == "road")
    expected = Polygon([placed @ corner for corner in ((10, 10), (50, 10), (50, 30), (10, 30))])
    outline = shape(road["geometry"])
    assert outline.exterior.is_ccw
    assert outline.symmetric_difference(expected).area < 1e-6
    assert road["properties"]["area_map_units"] == pytest.approx(expected.area)
    assert all(shape(feature["geometry"]).is_valid for feature in collection["features"])


def test_polygons_do_not_go_into_their_own_map(tmp_path: Path) -> None:
    path = class_map(tmp_path)
    before = path.read_bytes()
    with path.open("r+b") as file, pytest.raises(InvalidParameterError, match="go into another file"):
        write_polygons(file, path, LABELS)
    assert path.read_bytes() == before


def test_what_is_no_class_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BandMismatchError, match="uint16"):
        list(polygons(RASTERS["gcps.tif"](tmp_path / "a.tif"), LABELS))
    with pytest.raises(ImageNotFoundError):
        list(polygons(tmp_path / "nothing.tif", LABELS))
    path = class_map(tmp_path)
    with pytest.raises(InvalidParameterError, match="value 2"):
        list(polygons(path, LabelSpace(classes=LABELS.classes[:2])))
    with pytest.raises(InvalidParameterError, match="min_area"):
        list(polygons(path, LABELS, min_area=-1))
