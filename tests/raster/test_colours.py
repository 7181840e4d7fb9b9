"""An image's colours are what Pillow sees in it, however the file stores them; a mask keeps its values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from awkward_rasters import values, write
from PIL import Image

from icss_core.errors import BandMismatchError, ImageUnreadableError
from icss_core.raster.environment import georeference_optional
from icss_core.raster.reader import open_mask, open_raster
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIDE = 48
WHOLE = Window(0, 0, SIDE, SIDE)
RGB = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3)).astype("uint8")
PICTURE = Image.fromarray(RGB)
GREY = PICTURE.convert("L")
LEVELS = np.random.default_rng(1).integers(0, 4, (SIDE, SIDE)).astype("uint8")


def few_bits(path: Path, bits: int, driver: str) -> None:
    options = {"height": SIDE, "width": SIDE, "count": 1, "dtype": "uint8", "nbits": bits}
    with georeference_optional(), rasterio.open(path, "w", driver=driver, **options) as file:
        file.write(LEVELS % 2**bits, 1)


PICTURES: dict[str, tuple[Callable[[Path], None], str]] = {
    "palette.png": (lambda path: PICTURE.quantize(16).save(path), "RGB"),
    "palette_of_200.tif": (lambda path: PICTURE.quantize(200).save(path), "RGB"),
    "palette_of_grey.png": (lambda path: GREY.quantize(4).save(path), "RGB"),
    "palette_lzw.tif": (lambda path: PICTURE.quantize(16).save(path, compression="tiff_lzw"), "RGB"),
    "bilevel.png": (lambda path: PICTURE.convert("1").save(path), "L"),
    "bilevel.tif": (lambda path: PICTURE.convert("1").save(path), "L"),
    "bilevel_fax.tif": (lambda path: PICTURE.convert("1").save(path, compression="group4"), "L"),
    "bilevel_0_is_white.tif": (lambda path: PICTURE.convert("1").save(path, tiffinfo={262: 0}), "L"),
    "grey_0_is_white.tif": (lambda path: GREY.save(path, tiffinfo={262: 0}), "L"),
    "grey_2_bits.png": (lambda path: few_bits(path, 2, "PNG"), "L"),
    "grey_4_bits.tif": (lambda path: few_bits(path, 4, "GTiff"), "L"),
    "cmyk.tif": (lambda path: PICTURE.convert("CMYK").save(path), "RGB"),
    "cmyk.jpg": (lambda path: PICTURE.convert("CMYK").save(path), "RGB"),
    "ycbcr_in_jpeg.tif": (lambda path: PICTURE.save(path, compression="jpeg"), "RGB"),
    "ycbcr.tif": (lambda path: PICTURE.convert("YCbCr").save(path), "RGB"),
    "grey_alpha.png": (lambda path: PICTURE.convert("LA").save(path), "L"),
    "grey_alpha.tif": (lambda path: PICTURE.convert("LA").save(path), "L"),
    "rgba.png": (lambda path: PICTURE.convert("RGBA").save(path), "RGB"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_colours_are_those_that_pillow_sees(name: str, tmp_path: Path) -> None:
    make, mode = PICTURES[name]
    make(tmp_path / name)
    seen = np.asarray(Image.open(tmp_path / name).convert(mode)).reshape(SIDE, SIDE, -1)
    with open_raster(tmp_path / name) as raster:
        assert raster.bands == seen.shape[2]
        assert raster.dtype == "uint8"
        pixels = raster.read(WHOLE)
    assert pixels.valid.all()
    # two libraries round YCbCr to RGB by one level apart
    limit = 1 if name == "ycbcr.tif" else 0
    assert np.abs(pixels.values.transpose(1, 2, 0).astype(int) - seen).max() <= limit


def test_a_grey_of_two_bits_is_spread_over_the_whole_range(tmp_path: Path) -> None:
    few_bits(tmp_path / "a.png", 2, "PNG")
    with open_raster(tmp_path / "a.png") as raster:
        assert np.unique(raster.read(WHOLE).values).tolist() == [0, 85, 170, 255]


def test_bands_of_a_palette_are_its_colours(tmp_path: Path) -> None:
    PICTURE.quantize(16).save(tmp_path / "a.png")
    with open_raster(tmp_path / "a.png") as whole, open_raster(tmp_path / "a.png", bands=[3, 1]) as raster:
        assert raster.bands == 2
        window = Window(-4, 9, 20, 11)
        np.testing.assert_array_equal(raster.read(window).values, whole.read(window).values[[2, 0]])
    with pytest.raises(BandMismatchError, match=r"\[1, 2, 3\]"):
        open_raster(tmp_path / "a.png", bands=[4])


def test_transparent_colours_of_a_palette_have_no_data(tmp_path: Path) -> None:
    picture = PICTURE.quantize(16)
    picture.save(tmp_path / "a.png", transparency=3)
    alpha = np.asarray(Image.open(tmp_path / "a.png").convert("RGBA"))[..., 3]
    assert 0 < (alpha == 0).mean() < 1
    with open_raster(tmp_path / "a.png") as raster:
        np.testing.assert_array_equal(raster.read(WHOLE).valid, alpha > 0)


@pytest.mark.parametrize("name", ["palette.png", "palette_of_200.tif", "bilevel.png", "bilevel.tif",
                                  "grey_2_bits.png", "grey_4_bits.tif"])  # fmt: skip
def test_a_mask_keeps_its_indices(name: str, tmp_path: Path) -> None:
    PICTURES[name][0](tmp_path / name)
    with georeference_optional(), rasterio.open(tmp_path / name) as file:
        stored = file.read()
    with open_mask(tmp_path / name) as mask:
        np.testing.assert_array_equal(mask.read(WHOLE).values, stored)
    assert stored.max() < 200


def test_a_palette_beside_other_bands_is_no_image(tmp_path: Path) -> None:
    path = write(tmp_path / "map.tif", values(2, "uint8"), photometric="palette", alpha=None)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {1: (10, 20, 30, 255)})
        file.colorinterp = [rasterio.enums.ColorInterp.palette, rasterio.enums.ColorInterp.undefined]
    with pytest.raises(ImageUnreadableError, match=r"map\.tif has a palette beside other bands"):
        open_raster(path)
    with open_mask(path) as mask:
        assert mask.bands == 2


def test_each_band_has_its_own_nodata_value(tmp_path: Path) -> None:
    made = np.full((3, 20, 20), 50, "uint8")
    made[:, :5] = np.array([0, 7, 9], "uint8")[:, None, None]
    made[:, 5:10] = 0
    path = write(tmp_path / "a.tif", made)
    (tmp_path / "a.tif.aux.xml").write_text(
        "<PAMDataset>"
        + "".join(
            f'<PAMRasterBand band="{band}"><NoDataValue>{value}</NoDataValue></PAMRasterBand>'
            for band, value in ((1, 0), (2, 7), (3, 9))
        )
        + "</PAMDataset>"
    )
    with open_raster(path) as raster:
        valid = raster.read(Window(0, 0, 20, 20)).valid
    assert not valid[:5].any()
    assert valid[5:].all()
