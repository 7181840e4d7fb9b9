"""Small rasters with one awkward thing each, made by code: what users' files look like."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UTM = "EPSG:32632"
HEIGHT, WIDTH = 150, 133  # no multiple of any block


def values(bands: int, dtype: str, seed: int = 0) -> np.ndarray:
    """Random values over the type's range, with a corner of zeros."""
    rng = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.floating):
        made = rng.normal(0, 100, (bands, HEIGHT, WIDTH)).astype(dtype)
    else:
        info = np.iinfo(dtype)
        made = rng.integers(info.min, info.max, (bands, HEIGHT, WIDTH), dtype=dtype, endpoint=True)
    made[:, :40, :30] = 0
    return made


def write(path: Path, pixels: np.ndarray, **profile: Any) -> Path:
    """A raster file with these pixels (C, H, W)."""
    options: dict[str, Any] = {
        "driver": "GTiff",
        "crs": UTM,
        "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_300_000),
    } | profile
    mask, alpha = options.pop("mask", None), options.pop("alpha_bands", ())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", height=pixels.shape[1], width=pixels.shape[2], count=len(pixels), dtype=pixels.dtype,
            **{key: value for key, value in options.items() if value is not None},
        ) as file:  # fmt: skip
            file.write(pixels)
            if alpha:
                file.colorinterp = [
                    ColorInterp.alpha if band in alpha else ColorInterp.gray
                    for band in range(1, len(pixels) + 1)
                ]
            if mask is not None:
                file.write_mask(mask)
    return path


def _disc() -> np.ndarray:
    row, col = np.mgrid[:HEIGHT, :WIDTH]
    return (row - 80) ** 2 + (col - 60) ** 2 < 50**2


def _with_nan(bands: int, dtype: str = "float32") -> np.ndarray:
    made = values(bands, dtype)
    made[0, 60:80, 50:70] = np.nan
    made[-1, 5, 100] = np.inf
    return made


def _with_alpha(colour_bands: int, dtype: str = "uint8") -> np.ndarray:
    made = values(colour_bands + 1, dtype)
    made[-1] = _disc() * 200
    return made


def _gcps() -> list[GroundControlPoint]:
    corners = [(0, 0), (0, WIDTH), (HEIGHT, 0), (HEIGHT, WIDTH), (70, 60)]
    return [GroundControlPoint(row, col, 9 + col * 1e-5, 48 - row * 1e-5, 0) for row, col in corners]


def _internal_mask(path: Path) -> Path:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        return write(path, values(3, "uint8"), mask=_disc())


def _sidecar_mask(path: Path) -> Path:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        return write(path, values(3, "uint8"), mask=_disc())


def _tiled(path: Path, pixels: np.ndarray, **profile: Any) -> Path:
    return write(path, pixels, tiled=True, blockxsize=64, blockysize=32, **profile)


RASTERS: dict[str, Callable[[Path], Path]] = {
    "strips.tif": lambda path: write(path, values(3, "uint8"), blockysize=7),
    "tiled.tif": lambda path: _tiled(path, values(3, "uint8"), compress="deflate"),
    "pixel_interleaved.tif": lambda path: _tiled(path, values(4, "uint16"), interleave="pixel"),
    "non_square_pixels.tif": lambda path: write(
        path, values(1, "uint8"), transform=Affine(0.5, 0, 500_000, 0, -2, 5_300_000)
    ),
    "rotated.tif": lambda path: write(
        path, values(3, "uint8"), transform=Affine(0.4, 0.3, 500_000, 0.3, -0.4, 5_300_000)
    ),
    "south_up.tif": lambda path: write(
        path, values(2, "int16"), transform=Affine(0.5, 0, 500_000, 0, 0.5, 5_300_000)
    ),
    "nowhere.tif": lambda path: write(path, values(3, "uint8"), crs=None, transform=None),
    "gcps.tif": lambda path: write(path, values(1, "uint16"), transform=None, crs="EPSG:4326", gcps=_gcps()),
    "nodata_0.tif": lambda path: _tiled(path, values(3, "uint8"), nodata=0),
    "nodata_int16.tif": lambda path: write(path, values(2, "int16"), nodata=0),
    "nodata_uint16_max.tif": lambda path: write(path, values(1, "uint16"), nodata=65535),
    "nodata_nan.tif": lambda path: write(path, _with_nan(1), nodata=np.nan),
    "nodata_float.tif": lambda path: write(path, _with_nan(2), nodata=0),
    "nan_undeclared.tif": lambda path: write(path, _with_nan(3, "float64")),
    "alpha.tif": lambda path: write(path, _with_alpha(3), alpha_bands=(4,)),
    "alpha_after_five.tif": lambda path: write(path, _with_alpha(5), alpha_bands=(6,)),
    "grey_alpha_uint16.tif": lambda path: write(path, _with_alpha(1, "uint16"), alpha_bands=(2,)),
    "alpha_and_nodata.tif": lambda path: write(path, _with_alpha(3), alpha_bands=(4,), nodata=0),
    "nodata_out_of_range.tif": lambda path: write(path, values(1, "int16"), nodata=-9999),
    "internal_mask.tif": _internal_mask,
    "sidecar_mask.tif": _sidecar_mask,
    "uint32.tif": lambda path: write(path, values(1, "uint32")),
    "int8.tif": lambda path: write(path, values(2, "int8")),
    "cog.tif": lambda path: write(path, values(3, "uint8"), driver="COG", blocksize=128),
    "picture.png": lambda path: write(path, values(3, "uint8"), driver="PNG", crs=None, transform=None),
    "alpha.png": lambda path: write(path, _with_alpha(3), driver="PNG", crs=None, transform=None),
    "picture.jpg": lambda path: write(path, values(3, "uint8"), driver="JPEG", crs=None, transform=None),
    "lossless.jp2": lambda path: write(
        path, values(3, "uint8"), driver="JP2OpenJPEG", quality=100, reversible=True
    ),
}
"""File name -> what writes it."""
