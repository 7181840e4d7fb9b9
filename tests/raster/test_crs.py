"""A CRS is text from outside: the usual spellings mean what they always did, and no text is an address."""

from __future__ import annotations

import html
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from awkward_rasters import write

from icss_core.clicks import clicks_from_geojson
from icss_core.errors import InvalidParameterError
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.raster.crs import MAX_LENGTH, parse_crs
from icss_core.raster.georeference import floored, map_to_position, pixel_to_map
from icss_core.raster.reader import open_raster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UTM = pyproj.CRS.from_epsg(32640)
MERCATOR = pyproj.CRS.from_epsg(3857)
GRID = "/etc/hostname"
WITH_GRID = pyproj.CRS.from_string(f"+proj=longlat +ellps=bessel +nadgrids={GRID} +type=crs")
SPACE = LabelSpace(classes=(ClassInfo(name="background", colour=(0, 0, 0)),))


@pytest.fixture
def raster_file(tmp_path: Path) -> Path:
    return write(
        tmp_path / "image.tif",
        np.ones((1, 20, 30), np.uint8),
        crs="EPSG:32640",
        transform=Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000),
    )


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """Its address, and what was asked of it."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815 - the base class looks for this name

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", asked
        http.shutdown()


@pytest.mark.parametrize(
    "text",
    [
        "EPSG:32640",
        " epsg: 32640",
        "urn:ogc:def:crs:EPSG::32640",
        "urn:x-ogc:def:crs:EPSG:9.8:32640",
        "http://www.opengis.net/def/crs/EPSG/0/32640",
        "https://opengis.net/def/crs/EPSG/0/32640",
        "+init=epsg:32640",
        "+proj=utm +zone=40 +datum=WGS84 +units=m +no_defs",
        "EPSG:32640+5773",
        "urn:ogc:def:crs,crs:EPSG::32640,crs:EPSG::5773",
        UTM.to_wkt("WKT1_GDAL"),
        UTM.to_wkt("WKT1_ESRI"),
        UTM.to_wkt("WKT2_2015"),
        UTM.to_wkt("WKT2_2019", pretty=True),
        UTM.to_json(),
        UTM.to_json(pretty=True),
    ],
)
def test_every_usual_spelling_is_the_same_place(text: str, raster_file: Path) -> None:
    with open_raster(raster_file) as raster:
        rows, cols = map_to_position(raster, [500_005.2], [3_999_998.9], text)
    assert (floored(rows).tolist(), floored(cols).tolist()) == ([2], [10])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("OGC:CRS84", 4326),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", 4326),
        ("http://www.opengis.net/def/crs/OGC/1.3/CRS84", 4326),
        ("WGS84", 4326),
        ("CRS:84", 4326),
        ("+proj=longlat +datum=WGS84 +no_defs", 4326),
        ("ESRI:102100", 3857),
        (MERCATOR.to_wkt("WKT1_GDAL"), 3857),  # EXTENSION["PROJ4", "... +nadgrids=@null ..."]
        (
            "+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=0 +x_0=0 +y_0=0 +k=1 +nadgrids=@null +wktext",
            3857,
        ),
        (
            "+proj=tmerc +lon_0=9 +x_0=3500000 +ellps=bessel +towgs84=598.1,73.7,418.2,0.2,0.1,-2.5,6.7",
            None,
        ),
    ],
)
def test_coordinates_are_those_of_pyproj(text: str, code: int | None, raster_file: Path) -> None:
    other = pyproj.CRS.from_user_input(text if code is None else code)
    expected = pyproj.Transformer.from_crs(UTM, other, always_xy=True).transform(500_005.25, 3_999_998.75)
    with open_raster(raster_file) as raster:
        x, y = pixel_to_map(raster, [2], [10], text)
    np.testing.assert_allclose((x[0], y[0]), expected, rtol=1e-9)


def test_no_address_is_fetched(server: tuple[str, list[str]], raster_file: Path) -> None:
    address, asked = server
    point = {"type": "Point", "coordinates": [500_005.2, 3_999_998.9]}
    feature = {"type": "Feature", "geometry": point, "properties": {"class": "background"}}
    with open_raster(raster_file) as raster:
        for text in (f"{address}/crs", f"/vsicurl/{address}/crs", f"ESRI::{address}/crs"):
            with pytest.raises(InvalidParameterError, match="unknown CRS"):
                pixel_to_map(raster, [0], [0], text)
            collection = {
                "type": "FeatureCollection",
                "crs": {"type": "name", "properties": {"name": text}},
                "features": [feature],
            }
            with pytest.raises(InvalidParameterError, match="unknown CRS"):
                clicks_from_geojson(collection, raster, SPACE)
    assert asked == []


@pytest.mark.parametrize("spelling", ["{}", "ESRI::{}", "file://{}"])
def test_no_file_is_read(spelling: str, tmp_path: Path) -> None:
    for kind in ("WKT1_GDAL", "WKT2_2019"):
        definition = tmp_path / f"{kind}.prj"
        definition.write_text(UTM.to_wkt(kind))
        with pytest.raises(InvalidParameterError, match="unknown CRS"):
            parse_crs(spelling.format(definition))


@pytest.mark.parametrize(
    "text",
    [
        f"+proj=longlat +ellps=bessel +nadgrids={GRID} +no_defs",
        f"+proj=longlat +ellps=bessel +nadgrids=@null,{GRID}",
        f"+proj=longlat +datum=WGS84 +geoidgrids={GRID}",
        f"+proj=utm +zone=40 +init={GRID}:32640",
        WITH_GRID.to_wkt(),
        WITH_GRID.to_wkt("WKT1_GDAL"),
        WITH_GRID.to_json(),
        WITH_GRID.to_json().replace("using nadgrids=", "").replace(GRID, "\\u002fetc\\u002fhostname"),
        MERCATOR.to_wkt("WKT1_GDAL").replace("@null", GRID),
        MERCATOR.to_wkt("WKT1_GDAL").replace("@null", GRID).replace('"', "“", 1).replace('"', "”", 1),
    ],
)
def test_no_grid_from_outside_is_opened(text: str) -> None:
    with pytest.raises(InvalidParameterError, match=r"names a file|PROJ parameter"):
        parse_crs(text)


def test_a_raster_whose_own_crs_names_a_grid_is_refused(tmp_path: Path) -> None:
    """In a file beside the image, as anybody can write it."""
    extension = f'EXTENSION["PROJ4","+proj=longlat +ellps=bessel +nadgrids={GRID}"]'
    ellipsoid = 'SPHEROID["Bessel 1841",6377397.155,299.1528128]'
    definition = f'GEOGCS["own",DATUM["own",{ellipsoid}],UNIT["degree",0.0174532925199433],{extension}]'
    image = write(tmp_path / "image.png", np.ones((1, 8, 8), np.uint8), driver="PNG")
    (tmp_path / "image.png.aux.xml").write_text(
        f"<PAMDataset><SRS>{html.escape(definition)}</SRS>"
        "<GeoTransform>5,1,0,6,0,-1</GeoTransform></PAMDataset>"
    )
    with open_raster(image) as raster:
        assert raster.crs is not None
        with pytest.raises(InvalidParameterError, match=r"image\.png: the CRS has the PROJ parameter 'nadg"):
            pixel_to_map(raster, [0], [0], "EPSG:4326")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "unknown CRS ''"),
        ("32640", "write a code such as"),
        ("EPSG:999999", "EPSG:999999"),
        ("secret:32640", "unknown CRS"),
        ("EPSG:5773", "Vertical CRS"),
        ("EPSG:4978", "Geocentric CRS"),
        ("+proj=utm +zone=99", "unknown CRS"),
        ("PROJCS[", "unknown CRS"),
        ("{", "unknown CRS"),
        ("[]", "unknown CRS"),
        ('{"type": []}', "unknown CRS"),
        ('{"proj": "longlat", "nadgrids": "/etc/hostname"}', "unknown CRS"),
        (json.dumps({"type": "GeographicCRS", "proj": "longlat", "nadgrids": GRID}), "unknown CRS"),
        ('{"type":' * 1500, "unknown CRS"),
        ("PROJCS[" * 2000, "unknown CRS"),
        ("EPSG:" + "1" * MAX_LENGTH, f"at most {MAX_LENGTH}"),
    ],
)
def test_what_is_no_crs_is_refused(text: str, match: str) -> None:
    with pytest.raises(InvalidParameterError, match=match) as raised:
        parse_crs(text)
    assert len(str(raised.value)) < 300


def test_a_crs_of_rasterio_is_itself() -> None:
    crs = rasterio.CRS.from_epsg(32640)
    assert parse_crs(crs) is crs
