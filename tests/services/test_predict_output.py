"""Where `icss predict` writes, and where it must not; the service is stood in for by a map that it gave."""

from pathlib import Path
from xml.etree import ElementTree as ET

import httpx
import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from icss_core.labels import ClassInfo, LabelSpace
from icss_core.raster.cog import CogSink
from icss_core.raster.reader import open_raster
from services.cli import app
from services.client import IcssClient

CLASSES = LabelSpace(
    classes=(ClassInfo(name="background", colour=(0, 0, 0)), ClassInfo(name="R&D <b>", colour=(9, 8, 7)))
)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=30, height=20, count=3, dtype="uint8", crs="EPSG:32632",
        transform=rasterio.Affine(2, 0, 5e5, 0, -2, 5e6),
    ) as file:  # fmt: skip
        file.write(np.ones((3, 20, 30), np.uint8))
    return path


@pytest.fixture
def icss(image, tmp_path, monkeypatch):
    """Runs the program; the number of requests that it made, and what it said."""
    made = tmp_path / "elsewhere" / "made.tif"
    made.parent.mkdir()
    with open_raster(image) as raster, CogSink(made, like=raster, label_space=CLASSES) as sink:
        sink.write(0, np.ones((20, 30), np.uint8), None)
    asked = []

    def answer(request):
        asked.append(request)
        upload = {"id": "a" * 32, "uri": "s3://icss/a", "bytes": 1, "width": 30, "height": 20, "bands": 3}
        if request.url.path.endswith("uploads"):
            return httpx.Response(200, json=upload | {"dtype": "uint8", "crs": None})
        return httpx.Response(200, content=made.read_bytes())

    def connect(*_):
        return IcssClient("http://service", "token", transport=httpx.MockTransport(answer))

    monkeypatch.setattr("services.cli.predict.connect", connect)

    def run(*arguments):
        result = CliRunner().invoke(app, ["predict", "town", *map(str, arguments)])
        return len(asked), result

    return run


def test_the_names_of_the_classes_come_with_a_map(icss, image, tmp_path):
    out = tmp_path / "map.tif"
    (tmp_path / "map.tfw").write_text("1\n0\n0\n-1\n0\n0\n")
    (tmp_path / "map.tif.ovr").write_text("of an old map")
    requests, result = icss(image, "-o", out)
    assert (requests, result.exit_code) == (2, 0), result.output
    names = ET.fromstring((tmp_path / "map.tif.aux.xml").read_text())  # noqa: S314 - our own
    assert [name.text for name in names.iter("Category")] == ["background", "R&D <b>"]
    assert {file.name for file in tmp_path.iterdir()} == {
        "elsewhere",
        "image.tif",
        "map.tif",
        "map.tif.aux.xml",
    }
    with rasterio.open(out) as file:
        assert file.transform == rasterio.Affine(2, 0, 5e5, 0, -2, 5e6)


@pytest.mark.parametrize("options", [(), ("--polygons",)])
@pytest.mark.parametrize("name", ["image.tif", "elsewhere/../image.tif", "link.tif", "image.tif.msk"])
def test_the_result_never_takes_the_place_of_the_image(icss, image, tmp_path, name, options):
    (tmp_path / "link.tif").symlink_to(image)
    (tmp_path / "image.tif.msk").write_text("its mask")
    before = image.read_bytes()
    requests, result = icss(image, "-o", Path(tmp_path, name), *options)
    assert result.exit_code != 0
    assert "is what the result is made from" in f"{result.output}{result.exception}"
    assert requests == 0, "nothing is worked out"
    assert image.read_bytes() == before
    assert (tmp_path / "image.tif.msk").read_text() == "its mask"
