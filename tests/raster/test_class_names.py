"""Names of classes beside a map; judged by what GDAL takes over into a virtual raster."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import rasterio.shutil
from awkward_rasters import RASTERS

from icss_core.labels import ClassInfo, LabelSpace
from icss_core.raster.class_names import label_space_of
from icss_core.raster.cog import CogSink
from icss_core.raster.reader import open_raster

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("background", "<a> & \"b\" 'c'", "Gebäude ]]>", "道路  &amp;", "🏠👨‍👩‍👧", "می‌خ")
LABELS = LabelSpace(
    classes=tuple(ClassInfo(name=name, colour=(index, 90, 200)) for index, name in enumerate(NAMES))
)


def class_map(folder: Path) -> Path:
    path = folder / "map.tif"
    with (
        open_raster(RASTERS["strips.tif"](folder / "a.tif")) as raster,
        CogSink(path, like=raster, label_space=LABELS, confidence=True) as sink,
    ):
        shape = raster.height, raster.width
        sink.write(0, np.ones(shape, np.uint8), np.ones(shape, np.float32))
    return path


def parsed(path: Path) -> ET.Element:
    return ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - written here


def test_gdal_reads_the_names_whatever_signs_they_have(tmp_path: Path) -> None:
    rasterio.shutil.copy(class_map(tmp_path), tmp_path / "map.vrt", driver="VRT")
    first, second = parsed(tmp_path / "map.vrt").findall("VRTRasterBand")
    assert tuple(one.text for one in first.findall("CategoryNames/Category")) == NAMES
    assert second.find("CategoryNames") is None


def test_the_table_has_values_names_and_colours(tmp_path: Path) -> None:
    class_map(tmp_path)
    root = parsed(tmp_path / "map.tif.aux.xml")
    (table,) = root.findall("PAMRasterBand[@band='1']/GDALRasterAttributeTable")
    usages = [field.findtext("Usage") for field in table.findall("FieldDefn")]
    assert usages == ["5", "2", "6", "7", "8"], "GDAL's GFU_MinMax, Name, Red, Green, Blue"
    rows = [tuple(cell.text for cell in row) for row in table.findall("Row")]
    assert rows == [(str(index), name, str(index), "90", "200") for index, name in enumerate(NAMES)]


def test_a_map_alone_has_all_that_the_file_beside_it_says(tmp_path: Path) -> None:
    path = class_map(tmp_path)
    assert label_space_of(path.rename(tmp_path / "alone.tif")) == LABELS
    assert label_space_of(tmp_path / "a.tif") is None
