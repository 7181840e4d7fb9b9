"""A data set written again never changes what another dataset.yaml names; formats and palettes arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from scenes_in_store import pixels_of, stored
from tiny_tiles import image, write

from icss_core.errors import DatasetError
from icss_core.raster.environment import georeference_optional
from icss_core.raster.reader import open_mask, open_raster
from icss_core.raster.windows import Window
from services.errors import StorageError
from services.ingest import ingest_folder
from services.ingest.dubai import DUBAI_CLASSES
from services.ingest.writer import DatasetWriter

if TYPE_CHECKING:
    from pathlib import Path

    from icss_core.dataset import Dataset
    from services.storage import Storage

WHOLE = Window(0, 0, 40, 50)


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (3, 40, 50), dtype=np.uint8)


def written(storage: Storage, prefix: str, seed: int) -> Dataset:
    writer = DatasetWriter(storage, prefix, name="again", classes=DUBAI_CLASSES)
    mask = (pixels(seed)[0] % 5).astype(np.uint8)
    writer.add_array("a", pixels(seed), mask, split="train")
    return writer.finish()


def test_a_data_set_written_over_another_leaves_its_files(storage: Storage) -> None:
    first = written(storage, "s3://icss/again/over", 1)
    second = written(storage, "s3://icss/again/over", 2)
    assert stored(storage, second) == second != first
    for dataset, seed in ((first, 1), (second, 2)):
        scene = dataset.scenes[0]
        assert np.array_equal(pixels_of(storage, dataset.address(scene.image))[0], pixels(seed))
        assert scene.mask is not None
        assert np.array_equal(pixels_of(storage, dataset.address(scene.mask))[0][0], pixels(seed)[0] % 5)


def test_a_run_that_breaks_off_leaves_the_data_set_that_was_there(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = written(storage, "s3://icss/again/broken", 1)
    write_bytes = type(storage).write_bytes

    def broken(self: Storage, uri: str, *content: Any, **options: Any) -> str:
        if uri.endswith("dataset.yaml"):
            raise StorageError("the store went away")
        return write_bytes(self, uri, *content, **options)

    with monkeypatch.context() as patched:
        patched.setattr(type(storage), "write_bytes", broken)
        with pytest.raises(StorageError, match="went away"):
            written(storage, "s3://icss/again/broken", 2)
    again = stored(storage, first)
    assert again == first
    assert np.array_equal(pixels_of(storage, again.address(again.scenes[0].image))[0], pixels(1))


def test_the_same_pixels_have_the_same_names(storage: Storage) -> None:
    first = written(storage, "s3://icss/again/same", 1)
    assert written(storage, "s3://icss/again/same", 1) == first
    assert len(list(storage.list("s3://icss/again/same"))) == 5
    assert first.scenes[0].image != written(storage, "s3://icss/again/same", 2).scenes[0].image


def test_a_palette_is_colours_in_an_image_and_indices_in_a_mask(storage: Storage, tmp_path: Path) -> None:
    picture = Image.fromarray(pixels(3).transpose(1, 2, 0)).quantize(16)
    mask = Image.fromarray((pixels(4)[0] % 3).astype(np.uint8), mode="P")
    mask.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    picture.save(tmp_path / "images" / "a.png")
    mask.save(tmp_path / "masks" / "a.png")
    (tmp_path / "classes.yaml").write_text("[background, road, building]")
    dataset = ingest_folder(storage, tmp_path, "s3://icss/again/palette")
    scene = dataset.scenes[0]
    assert scene.mask is not None
    with storage.raster_environment():
        with open_raster(dataset.address(scene.image)) as raster:
            seen = raster.read(WHOLE).values
        with open_mask(dataset.address(scene.mask)) as raster:
            indices = raster.read(WHOLE).values
    assert np.array_equal(seen.transpose(1, 2, 0), np.asarray(picture.convert("RGB")))
    assert np.array_equal(indices[0], np.asarray(mask))


@pytest.mark.parametrize("ending", ["jp2", "png", "tif", "jpg"])
def test_every_format_comes_from_a_folder_into_the_store(
    storage: Storage, tmp_path: Path, ending: str
) -> None:
    driver = {"jp2": "JP2OpenJPEG", "png": "PNG", "tif": "GTiff", "jpg": "JPEG"}[ending]
    path = tmp_path / f"a.{ending}"
    with (
        georeference_optional(),
        rasterio.open(path, "w", driver=driver, height=64, width=64, count=3, dtype="uint8") as file,
    ):
        file.write(np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8))
    dataset = ingest_folder(storage, tmp_path, f"s3://icss/again/formats/{ending}")
    with open_raster(path) as raster:
        here = raster.read(Window(0, 0, 64, 64)).values
    assert np.array_equal(pixels_of(storage, dataset.address(dataset.scenes[0].image))[0], here)
    direct = storage.upload(path, f"s3://icss/again/direct/a.{ending}")
    assert np.array_equal(pixels_of(storage, direct)[0], here)


def test_a_mask_in_a_lossy_format_is_refused_by_name(storage: Storage, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels(0).transpose(1, 2, 0)).save(tmp_path / folder / "a.jpg")
    (tmp_path / "classes.yaml").write_text("[background, road]")
    with pytest.raises(DatasetError, match=r"a\.jpg.*save masks as PNG or GeoTIFF"):
        ingest_folder(storage, tmp_path, "s3://icss/again/lossy")


def test_a_damaged_file_is_named_and_no_temporary_one(storage: Storage, tmp_path: Path) -> None:
    path = write(tmp_path / "cut.tif", image(0))
    path.write_bytes(path.read_bytes()[:-3000])
    writer = DatasetWriter(storage, "s3://icss/again/cut", name="cut", classes=DUBAI_CLASSES)
    with pytest.raises(DatasetError, match=r"cut\.tif cannot be copied") as caught:
        writer.add_file("cut", path, None, split="test")
    assert str(caught.value).count("/tmp/") == str(caught.value).count(str(tmp_path))  # noqa: S108 - looked for
