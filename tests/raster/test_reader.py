from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine
from awkward_rasters import HEIGHT, RASTERS, WIDTH, values, write
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NodataShadowWarning

from icss_core.errors import (
    BandMismatchError,
    ImageNotFoundError,
    ImageUnreadableError,
    InvalidParameterError,
)
from icss_core.raster.environment import georeference_optional
from icss_core.raster.reader import ArraySource, Raster, open_mask, open_raster
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from pathlib import Path


def answer_of_rasterio(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Values and validity of the whole file by the plain rasterio calls."""
    with georeference_optional(), rasterio.open(path) as file:
        alpha = [band for band, kind in enumerate(file.colorinterp, 1) if kind == ColorInterp.alpha]
        bands = [band for band in file.indexes if band not in alpha]
        pixels = file.read(bands)
        valid = np.ones(file.shape, bool)
        if MaskFlags.alpha not in file.mask_flag_enums[0]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NodataShadowWarning)  # alpha is looked at below
                valid &= (file.read_masks(bands) > 0).any(axis=0)
        for band in alpha:
            valid &= file.read(band) > 0
    if np.issubdtype(pixels.dtype, np.floating):
        valid &= np.isfinite(pixels).all(axis=0)
    return pixels, valid


def assert_windows_equal(raster: Raster, pixels: np.ndarray, valid: np.ndarray) -> None:
    height, width = valid.shape
    assert (raster.bands, raster.height, raster.width) == pixels.shape
    assert raster.dtype == pixels.dtype.name
    windows = [
        Window(0, 0, height, width),
        Window(-7, -11, height + 20, width + 30),
        Window(height // 3, width // 4, 33, 29),
        Window(height - 5, width - 3, 16, 16),
        Window(-10, width - 2, 12, 5),
        Window(height + 4, 2, 3, 3),
        Window(-9, -9, 4, 4),
    ]
    for window in windows:
        read = raster.read(window)
        expected = np.zeros((len(pixels), window.height, window.width), pixels.dtype)
        expected_valid = np.zeros((window.height, window.width), bool)
        inside = window.clip(height, width)
        there = np.s_[
            inside.row - window.row : inside.end_row - window.row,
            inside.col - window.col : inside.end_col - window.col,
        ]
        here = np.s_[inside.row : inside.end_row, inside.col : inside.end_col]
        expected[(slice(None), *there)] = np.where(valid[here], pixels[(slice(None), *here)], 0)
        expected_valid[there] = valid[here]
        np.testing.assert_array_equal(read.values, expected)
        np.testing.assert_array_equal(read.valid, expected_valid)
        assert read.values.dtype == pixels.dtype


@pytest.mark.parametrize("name", RASTERS)
def test_windows_equal_rasterio(name: str, tmp_path: Path) -> None:
    path = RASTERS[name](tmp_path / name)
    with open_raster(path) as raster:
        assert_windows_equal(raster, *answer_of_rasterio(path))
        assert raster.name == name


def test_masks_leave_out_what_they_should(tmp_path: Path) -> None:
    with open_raster(RASTERS["nodata_0.tif"](tmp_path / "a.tif")) as raster:
        assert not raster.read(Window(0, 0, 40, 30)).valid.any()
        # one band at nodata does not make a pixel nodata
        assert raster.read(Window(40, 0, 110, 133)).valid.mean() > 0.999
    with open_raster(RASTERS["sidecar_mask.tif"](tmp_path / "b.tif")) as raster:
        assert (tmp_path / "b.tif.msk").exists()
        assert raster.read(Window(80, 60, 1, 1)).valid.all()
        assert not raster.read(Window(0, 0, 10, 10)).valid.any()
    with open_raster(RASTERS["nan_undeclared.tif"](tmp_path / "c.tif")) as raster:
        pixels = raster.read(Window(60, 50, 20, 20))
        assert not pixels.valid.any()
        assert (pixels.values == 0).all()


def test_every_odd_file_reads_as_rasterio_or_raises_a_typed_error(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "geotiff-odd" / "images"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    refused = {}
    for path in sorted(folder.iterdir()):
        try:
            with open_mask(path) as raster:  # values as stored; test_colours.py looks at colours
                if raster.height * raster.width > 6e6:
                    continue  # seconds of decoding that show nothing new
                raster.read(Window(0, 0, raster.height, raster.width))
                assert_windows_equal(raster, *answer_of_rasterio(path))
        except ImageUnreadableError as error:
            refused[path.name] = str(error)
    assert set(refused) == {"corrupt.tif", "RGB.byte.gcp.vrt", "white-gemini-iv.vrt"}
    assert "columns 0 to 1023" in refused["corrupt.tif"]


def test_georeference_is_kept_as_the_file_has_it(tmp_path: Path) -> None:
    for name in ("rotated.tif", "south_up.tif", "nowhere.tif", "gcps.tif", "non_square_pixels.tif"):
        path = RASTERS[name](tmp_path / name)
        with georeference_optional(), rasterio.open(path) as file, open_raster(path) as raster:
            assert raster.crs == file.crs
            assert raster.transform == file.transform
            assert len(raster.gcps) == len(file.gcps[0])
            assert raster.gcps_crs == file.gcps[1]
    with open_raster(tmp_path / "nowhere.tif") as raster:
        assert raster.crs is None
        assert raster.transform == Affine.identity()


def test_bands_can_be_chosen_and_reordered(tmp_path: Path) -> None:
    made = values(4, "uint16")
    path = write(tmp_path / "bands.tif", made)
    with open_raster(path, bands=[3, 1]) as raster:
        assert raster.bands == 2
        np.testing.assert_array_equal(raster.read(Window(50, 50, 9, 9)).values, made[[2, 0], 50:59, 50:59])
    for wrong in ([5], [0], []):
        with pytest.raises(BandMismatchError, match=r"\[1, 2, 3, 4\]"):
            open_raster(path, bands=wrong)


def test_a_band_that_is_named_is_data_also_where_the_file_marks_it_as_alpha(tmp_path: Path) -> None:
    path = RASTERS["alpha.tif"](tmp_path / "alpha.tif")
    with rasterio.open(path) as file, open_raster(path, bands=[4, 1]) as raster:
        assert file.colorinterp[3] == ColorInterp.alpha
        pixels = raster.read(Window(0, 0, HEIGHT, WIDTH))
        np.testing.assert_array_equal(pixels.values, file.read([4, 1]))
    assert (pixels.values[0] == 0).any(), "zeros that would be holes in an alpha band"
    assert pixels.valid.all()


def test_palette_is_kept_as_colour_table(tmp_path: Path) -> None:
    path = tmp_path / "palette.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=4, width=4, count=1, dtype="uint8", crs="EPSG:32632",
        transform=Affine(1, 0, 5, 0, -1, 0),
    ) as file:  # fmt: skip
        file.write(np.eye(4, dtype=np.uint8), 1)
        file.write_colormap(1, {1: (10, 20, 30, 255)})
    with open_raster(path) as raster:
        assert raster.colour_table is not None
        assert raster.colour_table[1] == (10, 20, 30, 255)
    with open_raster(RASTERS["strips.tif"](tmp_path / "plain.tif")) as raster:
        assert raster.colour_table is None


@pytest.mark.parametrize("address", ["nothing.tif", "/nowhere/at/all.tif", "GTIFF_DIR:1:picture.tif", ""])
def test_missing_files_are_missing(address: str, tmp_path: Path) -> None:
    with pytest.raises((ImageNotFoundError, ImageUnreadableError)) as caught:
        open_raster(str(tmp_path / address) if address == "nothing.tif" else address)
    assert isinstance(caught.value, ImageNotFoundError) == bool(address)


def test_what_is_no_plain_raster_is_refused(tmp_path: Path) -> None:
    target = RASTERS["strips.tif"](tmp_path / "target.tif")
    (tmp_path / "sneaky.tif").write_text(
        f'<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{target}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    (tmp_path / "text.tif").write_text("hello")
    (tmp_path / "empty.tif").touch()
    for name in ("sneaky.tif", "text.tif", "empty.tif"):
        with pytest.raises(ImageUnreadableError, match=name):
            open_raster(tmp_path / name)
    with pytest.raises(ImageUnreadableError, match="folder"):
        open_raster(tmp_path)
    for address in ("http://127.0.0.1:9/a.tif", "/vsicurl/http://127.0.0.1:9/a.tif", "/vsizip/a.zip/a.tif"):
        with pytest.raises(ImageUnreadableError, match="local paths and s3://"):
            open_raster(address)


def test_complex_values_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "complex.tif", np.ones((1, 8, 8), "complex64"))
    with pytest.raises(ImageUnreadableError, match="complex64"):
        open_raster(path)
    with pytest.raises(InvalidParameterError, match="complex64"):
        ArraySource(np.ones((1, 8, 8), "complex64"))


def test_a_damaged_block_is_named_and_the_rest_still_reads(tmp_path: Path) -> None:
    path = write(
        tmp_path / "damaged.tif", values(1, "uint8"), tiled=True, blockxsize=64, blockysize=64,
        compress="deflate",
    )  # fmt: skip
    data = bytearray(path.read_bytes())
    offset = len(data) // 2
    data[offset : offset + 2000] = b"\xff" * 2000
    path.write_bytes(data)
    with open_raster(path) as raster:
        assert raster.read(Window(0, 0, 10, 10)).valid.all()
        with pytest.raises(ImageUnreadableError, match=r"damaged\.tif: rows 0 to 149, columns 0 to 132"):
            raster.read(Window(0, 0, HEIGHT, WIDTH))


@pytest.mark.parametrize("name", ["tiled.tif", "strips.tif", "picture.png", "picture.jpg", "lossless.jp2"])
def test_a_truncated_file_is_unreadable(name: str, tmp_path: Path) -> None:
    path = RASTERS[name](tmp_path / name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageUnreadableError, match=name), open_raster(path) as raster:
        raster.read(Window(0, 0, raster.height, raster.width))


def test_an_array_is_a_source_like_a_file(tmp_path: Path) -> None:
    made = values(3, "float32")
    made[1, 3, 4] = np.nan
    path = write(tmp_path / "same.tif", made)
    source = ArraySource(made)
    with open_raster(path) as raster:
        for window in (Window(-3, -3, 20, 20), Window(100, 100, 100, 100), Window(500, 0, 4, 4)):
            np.testing.assert_array_equal(source.read(window).values, raster.read(window).values)
            np.testing.assert_array_equal(source.read(window).valid, raster.read(window).valid)
    source.read(Window(0, 0, 10, 10)).values[:] = 7  # a copy: the array stays
    assert made[0, 0, 0] == 0
    masked = ArraySource(made, np.zeros(made.shape[1:], bool)).read(Window(0, 0, 9, 9))
    assert not masked.valid.any()
    assert not masked.values.any()
    for bad in ({"values": made[0]}, {"values": made, "valid": np.ones((3, 3), bool)}):
        with pytest.raises(InvalidParameterError):
            ArraySource(**bad)
