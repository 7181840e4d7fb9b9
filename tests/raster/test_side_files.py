"""What lies beside a raster; judged by where GDAL then says that the raster lies, and by bytes of files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine
from awkward_rasters import RASTERS, write

from icss_core.errors import InvalidParameterError
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.raster.cog import CogSink
from icss_core.raster.environment import georeference_optional
from icss_core.raster.reader import open_raster
from icss_core.raster.side_files import check_output, remove_side_files, side_files

if TYPE_CHECKING:
    from pathlib import Path

LABELS = LabelSpace(classes=tuple(ClassInfo(name=name, colour=(1, 2, 3)) for name in ("background", "road")))
WORLD = "2\n0\n0\n-2\n700000\n600000\n"
DESCRIPTION = """<PAMDataset><SRS>EPSG:32633</SRS><GeoTransform>100, 10, 0, 900, 0, -10</GeoTransform>
<PAMRasterBand band="1"><Metadata><MDI key="STATISTICS_MAXIMUM">77</MDI></Metadata></PAMRasterBand>
</PAMDataset>"""


def map_of(source: Path, path: Path) -> Path:
    with open_raster(source) as raster, CogSink(path, like=raster, label_space=LABELS) as sink:
        sink.write(0, np.ones((raster.height, raster.width), np.uint8), None)
    return path


@pytest.mark.parametrize("source", ["strips.tif", "nowhere.tif"])
def test_a_new_map_inherits_nothing_from_an_old_one(source: str, tmp_path: Path) -> None:
    image = RASTERS[source](tmp_path / source)
    path = write(tmp_path / "map.tif", np.zeros((1, 1200, 1200), np.uint8), crs=None, transform=None)
    with georeference_optional(), rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as file:
        file.build_overviews([2])
    path.with_name("map.tif.msk").write_bytes(path.read_bytes())
    for name, text in (("map.tif.aux.xml", DESCRIPTION), ("map.TFW", WORLD), ("map.tifw", WORLD)):
        (tmp_path / name).write_text(text)
    (tmp_path / "map.wld").write_text(WORLD)
    (tmp_path / "map2.tfw").write_text(WORLD)  # of another raster
    map_of(image, path)
    names = {file.name for file in tmp_path.iterdir()} - {source}
    assert names == {"map.tif", "map.tif.aux.xml", "map2.tfw"}
    with georeference_optional(), rasterio.open(image) as before, rasterio.open(path) as made:
        assert (made.crs, made.transform) == (before.crs, before.transform)
        assert "STATISTICS_MAXIMUM" not in made.tags(1)
        assert (made.read_masks(1) == 255).all()


def test_a_failed_map_leaves_the_old_one_with_all_it_has(tmp_path: Path) -> None:
    image = RASTERS["strips.tif"](tmp_path / "image.tif")
    path = map_of(image, tmp_path / "map.tif")
    (tmp_path / "map.tif.ovr").write_text("overviews")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with open_raster(image) as raster, pytest.raises(InvalidParameterError, match="only 0 of 150 rows"):
        CogSink(path, like=raster, label_space=LABELS).__enter__().__exit__(None)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_world_file_that_may_be_another_files_is_neither_removed_nor_believed(tmp_path: Path) -> None:
    image = RASTERS["nowhere.tif"](tmp_path / "image.tif")
    RASTERS["picture.jpg"](tmp_path / "map.jpg")
    world = tmp_path / "map.wld"
    world.write_text(WORLD)
    (tmp_path / "map.prj").write_text("of the picture")
    with pytest.raises(InvalidParameterError, match=r"map\.wld.* may belong to map\.jpg"):
        map_of(image, tmp_path / "map.tif")
    world.rename(tmp_path / "map.tfw")  # of no JPEG
    map_of(image, tmp_path / "map.tif")
    assert {file.name for file in tmp_path.iterdir()} == {
        "image.tif", "map.jpg", "map.prj", "map.tif", "map.tif.aux.xml",
    }  # fmt: skip


def names_of(image: Path, way: str) -> Path:
    """The image by another name."""
    other = image.parent / "other" / "map.tif"
    other.parent.mkdir()
    if way == "symlink":
        other.symlink_to(image)
    elif way == "hard link":
        os.link(image, other)
    elif way == "folder link":
        (image.parent / "link").symlink_to(image.parent)
        return image.parent / "link" / image.name
    else:
        return other.parent / ".." / image.name
    return other


@pytest.mark.parametrize("way", ["symlink", "hard link", "folder link", ".."])
def test_a_map_never_takes_the_place_of_its_image(way: str, tmp_path: Path) -> None:
    image = RASTERS["strips.tif"](tmp_path / "image.tif")
    before = image.read_bytes()
    with pytest.raises(InvalidParameterError, match=r"is what the result is made from .*image\.tif"):
        map_of(image, names_of(image, way))
    assert image.read_bytes() == before
    assert not image.with_name("image.tif.aux.xml").exists()


def test_a_map_never_takes_the_place_of_what_belongs_to_its_image(tmp_path: Path) -> None:
    image = RASTERS["sidecar_mask.tif"](tmp_path / "image.tif")
    mask = tmp_path / "image.tif.msk"
    before = mask.read_bytes()
    with pytest.raises(InvalidParameterError, match=r"image\.tif\.msk is what"):
        map_of(image, mask)
    os.link(mask, tmp_path / "map.tif.msk")  # would be removed with an old map
    with pytest.raises(InvalidParameterError, match=r"map\.tif\.msk is what"):
        map_of(image, tmp_path / "map.tif")
    assert mask.read_bytes() == before


def test_the_world_file_of_the_image_stays(tmp_path: Path) -> None:
    image = RASTERS["picture.png"](tmp_path / "image.png")
    (tmp_path / "image.wld").write_text(WORLD)
    with open_raster(image) as raster:
        assert raster.transform == Affine(2, 0, 699_999, 0, -2, 600_001)
    with pytest.raises(InvalidParameterError, match=r"image\.wld"):
        map_of(image, tmp_path / "image.tif")
    assert (tmp_path / "image.wld").read_text() == WORLD


def test_a_folder_is_no_place_for_a_map(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="is a folder"):
        check_output(tmp_path, [])


def test_side_files_are_those_that_gdal_lists(tmp_path: Path) -> None:
    image = RASTERS["sidecar_mask.tif"](tmp_path / "a.tif")
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(image, "r+") as file:
        file.build_overviews([2])
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset/>")
    (tmp_path / "a.tfw").write_text(WORLD)
    (tmp_path / "ab.tfw").write_text(WORLD)
    with rasterio.open(image) as file:
        listed = {os.path.basename(name) for name in file.files}  # noqa: PTH119
    assert {"a.tif", "a.tif.msk", "a.tif.ovr", "a.tif.aux.xml"} <= listed
    assert {file.name for file in side_files(image)} == (listed | {"a.tfw"}) - {"a.tif"}
    remove_side_files(image)
    assert {file.name for file in tmp_path.iterdir()} == {"a.tif", "ab.tfw"}
