"""Class names beside a class map, where GDAL and GIS look for them.

GDAL 3.10 writes and reads category names of a GeoTIFF only in a second file, NAME.tif.aux.xml ("persistent
auxiliary metadata"). QGIS labels a map's colours with these names, ArcGIS with the attribute table.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import rasterio

from icss_core.labels import ClassInfo, LabelSpace
from icss_core.raster.environment import gdal_ready, georeference_optional
from icss_core.raster.side_files import description_of

if TYPE_CHECKING:
    from pathlib import Path

CLASS_TAG: Final = "CLASS_"
"""A band's tags with class names in the map itself begin so, followed by the index."""

_COLUMNS: Final = (
    ("Value", "0", "5"),
    ("Class", "2", "2"),
    ("Red", "0", "6"),
    ("Green", "0", "7"),
    ("Blue", "0", "8"),
)
"""Of the attribute table: name; GDAL's number of the type, 0 integer and 2 text; its number of the usage."""


def description_text(label_space: LabelSpace) -> str:
    """What NAME.tif.aux.xml says of a class map: names, and a table of values, names and colours.

    Args:
        label_space: names and colours by index.
    """
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    names = ET.SubElement(band, "CategoryNames")
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for position, column in enumerate(_COLUMNS):
        field = ET.SubElement(table, "FieldDefn", index=str(position))
        for tag, text in zip(("Name", "Type", "Usage"), column, strict=True):
            ET.SubElement(field, tag).text = text
    for index, info in enumerate(label_space.classes):
        ET.SubElement(names, "Category").text = info.name
        row = ET.SubElement(table, "Row", index=str(index))
        for value in (index, info.name, *info.colour):
            ET.SubElement(row, "F").text = str(value)
    ET.indent(root, " ")
    return ET.tostring(root, encoding="unicode") + "\n"


def label_space_of(path: Path) -> LabelSpace | None:
    """Names and colours of the classes as a map that `CogSink` wrote has them; None where it has none."""
    with gdal_ready(), georeference_optional(), rasterio.open(path) as file:
        tags: dict[str, str] = file.tags(1)
        numbered = {
            int(tag.removeprefix(CLASS_TAG)): name
            for tag, name in tags.items()
            if re.fullmatch(rf"{CLASS_TAG}\d+", tag)
        }
        if not numbered or sorted(numbered) != list(range(len(numbered))):
            return None
        colours = file.colormap(1)
    classes = tuple(
        ClassInfo(name=numbered[index], colour=colours[index][:3]) for index in range(len(numbered))
    )
    return LabelSpace(classes=classes)


def write_description(path: Path, label_space: LabelSpace) -> Path:
    """Write the names beside a map; returns where."""
    description = description_of(path)
    description.write_text(description_text(label_space), encoding="utf-8")
    return description
