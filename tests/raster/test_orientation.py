"""Photos are read as viewers show them; Pillow's `exif_transpose` is the judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
import tifffile
from affine import Affine
from PIL import Image, ImageOps

from icss_core.raster.environment import georeference_optional
from icss_core.raster.reader import open_mask, open_raster
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from pathlib import Path

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)


def photo(path: Path, number: int, pixels: np.ndarray = PIXELS) -> Path:
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[274] = number
    lossless = {} if path.suffix != ".jpg" else {"quality": 100, "subsampling": 0}
    image.save(path, exif=exif, **lossless)
    return path


def upright(path: Path) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")).transpose(2, 0, 1)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
@pytest.mark.parametrize("number", range(1, 9))
def test_a_photo_is_read_as_viewers_show_it(tmp_path: Path, ending: str, number: int) -> None:
    path = photo(tmp_path / f"photo.{ending}", number)
    seen = upright(path)
    with open_raster(path) as raster:
        assert (raster.height, raster.width) == seen.shape[1:]
        assert raster.is_turned == (number > 1)
        whole = raster.read(Window(0, 0, raster.height, raster.width))
        part = raster.read(Window(-3, 9, 17, 80))
    # two decoders of JPEG may differ by a step or two
    assert np.abs(whole.values.astype(int) - seen).max() <= (4 if ending == "jpg" else 0)
    assert whole.valid.all()
    np.testing.assert_array_equal(part.values[:, 3:, : seen.shape[2] - 9], whole.values[:, :14, 9:])
    assert part.valid.sum() == 14 * (seen.shape[2] - 9)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_the_tag_is_found_in_any_kind_of_tiff(tmp_path: Path, byteorder: str, big: bool) -> None:
    path = tmp_path / "five.tif"  # five bands of uint16 are beyond Pillow
    bands = np.random.default_rng(1).integers(0, 60000, (5, 30, 44), np.uint16)
    tags = [(274, 3, 1, 6, True)]
    tifffile.imwrite(
        path, bands, byteorder=byteorder, bigtiff=big, photometric="minisblack", planarconfig="separate",
        extratags=tags,
    )  # fmt: skip
    with open_raster(path) as raster:
        turned = raster.read(Window(0, 0, 44, 30)).values
    np.testing.assert_array_equal(turned, np.rot90(bands, -1, axes=(1, 2)))


def test_a_mask_is_turned_as_its_image_is(tmp_path: Path) -> None:
    path = photo(tmp_path / "mask.png", 3, PIXELS[..., 0])
    with open_mask(path) as raster:
        np.testing.assert_array_equal(
            raster.read(Window(0, 0, 40, 56)).values[0], np.rot90(PIXELS[..., 0], 2)
        )


def test_rows_of_a_raster_on_the_map_are_those_of_the_file(tmp_path: Path) -> None:
    path = photo(tmp_path / "placed.tif", 3)
    with georeference_optional(), rasterio.open(path, "r+") as file:
        file.transform = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
        stored = file.read()
    with open_raster(path) as raster:
        assert not raster.is_turned
        np.testing.assert_array_equal(raster.read(Window(0, 0, 40, 56)).values, stored)


@pytest.mark.parametrize("number", [0, 9, 60000])
def test_a_number_that_means_nothing_turns_nothing(tmp_path: Path, number: int) -> None:
    with open_raster(photo(tmp_path / "photo.png", number)) as raster:
        assert not raster.is_turned
