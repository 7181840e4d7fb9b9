from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import rasterio
from awkward_rasters import RASTERS, values, write
from rasterio.drivers import raster_driver_extensions

from icss_core.raster.environment import georeference_optional
from icss_core.raster.formats import DRIVERS, FORMATS, IMAGE_EXTENSIONS, MASK_EXTENSIONS, format_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["strips.tif", "cog.tif", "picture.png", "picture.jpg", "lossless.jp2"])
def test_a_file_is_known_by_its_first_bytes_as_gdal_knows_it(name: str, tmp_path: Path) -> None:
    path = RASTERS[name](tmp_path / name)
    kind = format_of(path.read_bytes()[:16])
    with georeference_optional(), rasterio.open(path) as file:
        assert kind is not None
        assert file.driver in kind.drivers
    assert path.suffix in kind.extensions


def test_a_big_tiff_and_one_of_the_other_byte_order_are_geotiffs(tmp_path: Path) -> None:
    for options in ({"bigtiff": "yes"}, {"endianness": "big"}, {"bigtiff": "yes", "endianness": "big"}):
        path = write(tmp_path / "a.tif", values(1, "uint8"), **options)
        kind = format_of(path.read_bytes()[:16])
        assert kind is not None
        assert kind.name == "GeoTIFF"


@pytest.mark.parametrize("start", [b"", b"II", b"<VRTDataset>", b"GIF89a", b"CDF\x01", b"\x89HDF\r\n\x1a\n"])
def test_other_files_are_of_no_format(start: bytes) -> None:
    assert format_of(start) is None


def test_the_table_agrees_with_gdal() -> None:
    extensions = raster_driver_extensions()
    for kind in FORMATS:
        assert extensions[kind.extensions[0].removeprefix(".")] in kind.drivers
    assert "VRT" not in DRIVERS
    assert {".jpg", ".jpeg"} == IMAGE_EXTENSIONS - MASK_EXTENSIONS
