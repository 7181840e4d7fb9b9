from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine
from awkward_rasters import RASTERS, write
from rasterio.enums import ColorInterp

from icss_core.errors import InvalidParameterError
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.raster.cog import CONFIDENCE_STEPS, CogSink
from icss_core.raster.environment import georeference_optional
from icss_core.raster.reader import open_mask, open_raster
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from pathlib import Path

LABELS = LabelSpace(
    classes=(
        ClassInfo(name="background", colour=(0, 0, 0)),
        ClassInfo(name="road", colour=(200, 10, 10)),
        ClassInfo(name="Gebäude", colour=(10, 20, 250)),
    )
)


def assert_valid_cog(path: Path) -> None:
    """What GDAL's validator asks for: the header says so, IFDs come first, overviews last to first, tiled."""
    head = path.read_bytes()[:1000]
    assert b"LAYOUT=IFDS_BEFORE_DATA" in head
    assert b"KNOWN_INCOMPATIBLE_EDITION=NO" in head
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack(order + "H", head[2:4])[0] == 43
    data = path.read_bytes()
    next_ifd = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    directories = []
    while next_ifd:
        count = struct.unpack_from(order + ("Q" if big else "H"), data, next_ifd)[0]
        start, size = next_ifd + (8 if big else 2), 20 if big else 12
        tags = {}
        for entry in range(count):
            tag, kind, number = struct.unpack_from(
                order + ("HHQ" if big else "HHI"), data, start + entry * size
            )
            width = {1: 1, 2: 1, 3: 2, 4: 4, 16: 8}.get(kind, 8)
            position = start + entry * size + (12 if big else 8)
            if number * width > (8 if big else 4):
                position = struct.unpack_from(order + ("Q" if big else "I"), data, position)[0]
            if kind in {3, 4, 16}:
                letter = {3: "H", 4: "I", 16: "Q"}[kind]
                tags[tag] = struct.unpack_from(f"{order}{number}{letter}", data, position)
        directories.append((next_ifd, tags))
        next_ifd = struct.unpack_from(order + ("Q" if big else "I"), data, start + count * size)[0]
    first_data = [
        min(offset for offset in tags[324] if offset) for _, tags in directories
    ]  # 324: TileOffsets
    sizes = [tags[256][0] for _, tags in directories]  # 256: ImageWidth
    assert sizes == sorted(sizes, reverse=True)
    assert max(position for position, _ in directories) < min(first_data), "all directories before all data"
    assert first_data == sorted(first_data, reverse=True), "smallest overview first"
    assert all(tags[322] == (512,) for _, tags in directories)  # 322: TileWidth


def labels_of(height: int, width: int) -> np.ndarray:
    row, col = np.mgrid[:height, :width]
    made = ((row // 50 + col // 30) % 3).astype(np.uint8)
    made[:20, :20] = 255
    return made


@pytest.mark.parametrize("confidence", [False, True])
@pytest.mark.parametrize("size", [(150, 133), (512, 512), (1100, 1500)], ids=str)
def test_rows_become_a_valid_cog(size: tuple[int, int], confidence: bool, tmp_path: Path) -> None:
    made = labels_of(*size)
    scores = np.where(made == 255, 0, np.linspace(0, 1, made.size).reshape(size)).astype(np.float32)
    source = write(tmp_path / "source.tif", np.zeros((1, *size), np.uint8))
    path = tmp_path / "map.tif"
    with (
        open_raster(source) as raster,
        CogSink(path, like=raster, label_space=LABELS, confidence=confidence) as sink,
    ):
        for row in range(0, size[0], 97):
            sink.write(row, made[row : row + 97], scores[row : row + 97] if confidence else None)
            assert not path.exists()
    assert_valid_cog(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["map.tif", "map.tif.aux.xml", "source.tif"]
    with rasterio.open(path) as file, rasterio.open(source) as before:
        np.testing.assert_array_equal(file.read(1), made)
        assert (file.crs, file.transform, file.nodata) == (before.crs, before.transform, 255)
        assert file.compression.name == "deflate"
        assert file.overviews(1) == ([2, 4] if max(size) > 1024 else [])
        assert [file.colormap(1)[index][:3] for index in range(3)] == [info.colour for info in LABELS.classes]
        names = {key: name for key, name in file.tags(1).items() if key.startswith("CLASS_")}
        assert names == {"CLASS_0": "background", "CLASS_1": "road", "CLASS_2": "Gebäude"}
        assert file.count == (2 if confidence else 1)
        if confidence:
            assert file.colorinterp == (ColorInterp.palette, ColorInterp.undefined)
            assert file.descriptions == ("class", "confidence")
            stored = file.read(2, masked=True)
            assert (stored.mask == (made == 255)).all()
            found = stored * file.scales[1]
            assert np.abs(found - scores).max() <= 0.5 / CONFIDENCE_STEPS + 1e-6


@pytest.mark.parametrize(
    "name", ["rotated.tif", "south_up.tif", "nowhere.tif", "gcps.tif", "non_square_pixels.tif", "picture.png"]
)
def test_georeference_of_the_source_is_kept(name: str, tmp_path: Path) -> None:
    source = RASTERS[name](tmp_path / name)
    path = tmp_path / "out.tif"
    with open_raster(source) as raster:
        with CogSink(path, like=raster, label_space=LABELS) as sink:
            sink.write(0, labels_of(raster.height, raster.width), None)
        with open_raster(path) as written:
            assert written.crs == raster.crs
            assert written.gcps_crs == raster.gcps_crs
            assert [(p.row, p.col, p.x, p.y) for p in written.gcps] == [
                (p.row, p.col, p.x, p.y) for p in raster.gcps
            ]
            assert written.transform.almost_equals(raster.transform, 1e-9)


def test_every_odd_georeference_is_kept(shared_dir: Path, tmp_path: Path) -> None:
    folder = shared_dir / "data" / "geotiff-odd" / "images"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    path = tmp_path / "out.tif"
    for file in sorted(folder.glob("*.tif*")):
        if file.suffix in {".msk", ".ovr"} or file.stat().st_size > 3e6:
            continue
        with open_raster(file) as raster:
            with CogSink(path, like=raster, label_space=LABELS) as sink:
                sink.write(0, np.zeros((raster.height, raster.width), np.uint8), None)
            with open_raster(path) as written:
                assert written.crs == raster.crs, file.name
                assert len(written.gcps) == len(raster.gcps), file.name
                assert written.transform.almost_equals(raster.transform, 1e-9), file.name


def test_after_an_error_nothing_is_left_and_an_older_map_stays(tmp_path: Path) -> None:
    source = RASTERS["strips.tif"](tmp_path / "source.tif")
    path = tmp_path / "map.tif"
    path.write_text("the map of yesterday")
    with open_raster(source) as raster:
        sink = CogSink(path, like=raster, label_space=LABELS)
        with pytest.raises(ZeroDivisionError), sink:
            sink.write(1 // 0, labels_of(40, 133), None)
        sink = CogSink(path, like=raster, label_space=LABELS)
        with pytest.raises(InvalidParameterError, match="only 40 of 150 rows"), sink:
            sink.write(0, labels_of(40, 133), None)
    assert path.read_text() == "the map of yesterday"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["map.tif", "source.tif"]


def test_wrong_rows_are_refused(tmp_path: Path) -> None:
    with open_raster(RASTERS["strips.tif"](tmp_path / "source.tif")) as raster:
        path = tmp_path / "map.tif"
        for row, shape in ((1, (10, 133)), (0, (10, 132)), (0, (151, 133))):
            sink = CogSink(path, like=raster, label_space=LABELS)
            with pytest.raises(InvalidParameterError, match="row 0 of 150 x 133 is next"), sink:
                sink.write(row, np.zeros(shape, np.uint8), None)
        sink = CogSink(path, like=raster, label_space=LABELS, confidence=True)
        with pytest.raises(InvalidParameterError, match="confidence=True"), sink:
            sink.write(0, np.zeros((10, 133), np.uint8), None)
        with pytest.raises(InvalidParameterError, match="no folder"):
            CogSink(tmp_path / "none" / "map.tif", like=raster, label_space=LABELS)


def test_a_flipped_identity_transform_is_no_warning(tmp_path: Path) -> None:
    with georeference_optional():
        source = write(tmp_path / "a.tif", np.zeros((1, 9, 9), np.uint8), transform=Affine(1, 0, 0, 0, -1, 0))
    with open_raster(source) as raster, CogSink(tmp_path / "b.tif", like=raster, label_space=LABELS) as sink:
        sink.write(0, np.zeros((9, 9), np.uint8), None)
    with open_mask(tmp_path / "b.tif") as written:
        assert written.transform == Affine(1, 0, 0, 0, -1, 0)
        assert written.read(Window(0, 0, 9, 9)).values.shape == (1, 9, 9)
