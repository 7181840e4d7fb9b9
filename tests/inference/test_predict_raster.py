from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine
from small_networks import lived_in_segmenter

from icss_core.errors import (
    BandMismatchError,
    CancelledError,
    DtypeMismatchError,
    ImageNotFoundError,
    InvalidParameterError,
)
from icss_core.inference import ArraySink, Tiling, predict, predict_raster
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.raster.reader import open_raster
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from pathlib import Path

LABELS = LabelSpace(classes=tuple(ClassInfo(name=name, colour=(9, 9, 9)) for name in ("background", *"abc")))
TILING = Tiling(window=128, overlap=32)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.tif"
    pixels = np.random.default_rng(0).integers(1, 256, (4, 300, 210), np.uint8)
    pixels[:, :100, :90] = 0
    with rasterio.open(
        path, "w", driver="GTiff", height=300, width=210, count=4, dtype="uint8", nodata=0, tiled=True,
        photometric="minisblack",
        blockxsize=64, blockysize=64, crs="EPSG:32632", transform=Affine(0.5, 0, 500_000, 0, -0.5, 5_300_000),
    ) as file:  # fmt: skip
        file.write(pixels)
    return path


def test_the_map_on_disk_is_the_map_in_memory(scene: Path, tmp_path: Path) -> None:
    network = lived_in_segmenter()
    seen: list[tuple[int, int]] = []
    predict_raster(
        network, scene, tmp_path / "map.tif", label_space=LABELS, tiling=TILING, bands=[3, 2, 1],
        confidence=True, precision="float32", progress=lambda *now: seen.append(now),
    )  # fmt: skip
    with open_raster(scene, bands=[3, 2, 1]) as raster:
        sink = ArraySink(raster.height, raster.width)
        predict(
            network, raster, sink, n_classes=4, tiling=TILING, confidence=True, precision="float32"
        )  # fmt: skip
    with rasterio.open(tmp_path / "map.tif") as file, rasterio.open(scene) as before:
        labels, confidence = file.read()
        assert (file.crs, file.transform) == (before.crs, before.transform)
    np.testing.assert_array_equal(labels, sink.labels)
    assert (labels[:100, :90] == 255).all()
    assert len(set(np.unique(labels)) - {255}) > 1
    valid = labels != 255
    np.testing.assert_allclose(confidence[valid] / 250, sink.confidence[valid], atol=0.0021)
    assert seen[-1][0] == seen[-1][1]


def test_wrong_requests_leave_no_file(scene: Path, tmp_path: Path) -> None:
    network = lived_in_segmenter()
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(BandMismatchError, match=r"scene\.tif has 4 bands, the network takes 3"):
        predict_raster(network, scene, out / "map.tif", label_space=LABELS)
    with pytest.raises(ImageNotFoundError):
        predict_raster(network, tmp_path / "no.tif", out / "map.tif", label_space=LABELS)
    fewer = LabelSpace(classes=LABELS.classes[:3])
    with pytest.raises(InvalidParameterError, match="the network gives"):
        predict_raster(network, scene, out / "map.tif", label_space=fewer, bands=[1, 2, 3])
    with pytest.raises(CancelledError):
        predict_raster(
            network, scene, out / "map.tif", label_space=LABELS, bands=[1, 2, 3], should_stop=lambda: True
        )  # fmt: skip
    assert not list(out.iterdir())


def test_a_map_never_takes_the_place_of_its_image(scene: Path) -> None:
    before = scene.read_bytes()
    (scene.parent / "link.tif").hardlink_to(scene)
    for out in (scene, scene.parent / "link.tif"):
        with pytest.raises(InvalidParameterError, match="write it under another name"):
            predict_raster(lived_in_segmenter(), scene, out, label_space=LABELS, bands=[1, 2, 3])
        assert out.read_bytes() == before


def test_a_limited_block_cache_is_given_back(scene: Path, tmp_path: Path) -> None:
    before = rasterio.env.get_gdal_config("GDAL_CACHEMAX")
    predict_raster(
        lived_in_segmenter(), scene, tmp_path / "map.tif", label_space=LABELS, tiling=TILING, bands=[1, 2, 3]
    )
    assert rasterio.env.get_gdal_config("GDAL_CACHEMAX") == before


def test_open_raster_is_predicted_and_stays_open(scene: Path, tmp_path: Path) -> None:
    network = lived_in_segmenter()
    options = {"label_space": LABELS, "tiling": TILING, "precision": "float32"}
    predict_raster(network, scene, tmp_path / "by_address.tif", bands=[1, 2, 3], **options)
    with open_raster(scene, bands=[1, 2, 3]) as raster:
        predict_raster(network, raster, tmp_path / "opened.tif", dtype="uint8", **options)
        assert raster.read(Window(0, 0, 8, 8)).values.shape == (3, 8, 8)
    with rasterio.open(tmp_path / "by_address.tif") as one, rasterio.open(tmp_path / "opened.tif") as other:
        np.testing.assert_array_equal(one.read(), other.read())


def test_another_data_type_than_the_trained_one_is_refused(scene: Path, tmp_path: Path) -> None:
    network = lived_in_segmenter()
    with pytest.raises(DtypeMismatchError, match=r"scene\.tif stores uint8, .* trained on uint16"):
        predict_raster(
            network, scene, tmp_path / "map.tif", label_space=LABELS, bands=[1, 2, 3], dtype="uint16"
        )
    assert not (tmp_path / "map.tif").exists()
