"""The GeoTIFFs that data sets are made of: tiled, compressed without loss, one place for writing them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterioWindow

from icss_core.errors import DatasetError, MisplacedError
from icss_core.raster.alignment import Grid, laid_onto
from icss_core.raster.environment import gdal_ready, georeference_optional
from icss_core.raster.reader import open_mask, open_raster
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from icss_core.raster.reader import Raster

TILED: Final[dict[str, Any]] = {
    "driver": "GTiff",
    "tiled": True,
    "blockxsize": 512,
    "blockysize": 512,
    "compress": "deflate",
    "BIGTIFF": "IF_SAFER",
}
"""How rasters of a data set are stored: for reading by windows, without loss."""
_STRIP: Final = 512


def write_upright(raster: Raster, target: Path) -> None:
    """Write a photo as it is read, turned upright, with a mask where pixels have no data.

    Args:
        raster: open; one that lies on the map is not turned, so nothing of a place is lost.
        target: of the GeoTIFF.
    """
    with (
        gdal_ready(GDAL_TIFF_INTERNAL_MASK="YES"),
        georeference_optional(),
        rasterio.open(
            target,
            "w",
            count=raster.bands,
            height=raster.height,
            width=raster.width,
            dtype=raster.dtype,
            **TILED,
        ) as file,
    ):
        masked = False
        for top in range(0, raster.height, _STRIP):
            strip = Window(top, 0, min(_STRIP, raster.height - top), raster.width)
            pixels = raster.read(strip)
            area = RasterioWindow(0, top, strip.width, strip.height)
            file.write(pixels.values, window=area)
            masked |= not pixels.valid.all()
        for top in range(0, raster.height if masked else 0, _STRIP):
            strip = Window(top, 0, min(_STRIP, raster.height - top), raster.width)
            area = RasterioWindow(0, top, strip.width, strip.height)
            file.write_mask(raster.read(strip).valid, window=area)


def copy_image(path: Path, target: Path, *, alpha_is_data: bool) -> Grid:
    """Copy an image block by block, with its georeference, nodata and masks; a photo is turned upright.

    Args:
        path: of the image.
        target: of the copy.
        alpha_is_data: see `DatasetWriter.add_file`.

    Returns:
        Where the pixels of the copy lie.

    Raises:
        ImageUnreadableError: the file is not a raster we read.
        DatasetError: it is damaged.
    """
    with open_raster(path) as source:
        grid = Grid.of(source)
        turned, bands = source.is_turned, source.all_bands if alpha_is_data else None
    if turned:
        with open_raster(path, bands=bands) as source:
            write_upright(source, target)
    else:
        _copy(path, target, **({"ALPHA": "NO"} if alpha_is_data else {}))
    if alpha_is_data:
        _unmark_alpha(target)
    return grid


def copy_map(name: str, kind: str, path: Path, target: Path, grid: Grid) -> None:
    """Copy a map of a scene, after checking that it is one, and on the image's pixels.

    Args:
        name: of the scene, for messages.
        kind: of the map.
        path: of its file.
        target: of the copy.
        grid: of the image.

    Raises:
        ImageUnreadableError: the file is not a raster we read.
        DatasetError: it is damaged, or no map.
        MisplacedError: it does not lie where the image does.
    """
    with open_mask(path) as raster:
        own = Grid.of(raster)
        nothing = np.zeros((own.height, own.width), np.uint8)
        try:
            moved = laid_onto(nothing, own, grid) is not nothing
        except MisplacedError as error:
            raise MisplacedError(f"scene {name!r}: the {kind} does not fit its image: {error}") from error
        if moved:
            raise MisplacedError(
                f"scene {name!r}: the {kind} lies on other pixels than its image; warp it onto the image's"
            )
        if raster.bands != 1 or raster.dtype != "uint8" or raster.colour_table is not None:
            what = "with a palette" if raster.colour_table else f"of {raster.dtype}"
            raise DatasetError(
                f"scene {name!r}: {kind} is one band of uint8 from 0 to 255, not {raster.bands} {what}"
            )
        if raster.is_turned:
            write_upright(raster, target)
            return
    _copy(path, target)


def geotiff(
    values: npt.NDArray[Any],
    profile: dict[str, Any],
    valid: npt.NDArray[np.bool_] | None = None,
    nodata: float | None = None,
) -> bytes:
    """Bytes of a tiled, deflated GeoTIFF of an array (C, H, W).

    It has a mask where `valid` (H, W) says so, and where a pixel with data looks as if it had none.
    """
    bands, height, width = values.shape
    colours = {"photometric": "RGB"} if bands == 3 and values.dtype == np.uint8 else {}
    present = np.ones((height, width), bool) if valid is None else valid
    if nodata is not None:
        profile = profile | {"nodata": nodata}
        with np.errstate(over="ignore"):
            absent = np.array(nodata).astype(values.dtype)
        masked = not present.all() or bool((values == absent).all(axis=0).any())
        values = np.where(present, values, absent)
    else:
        masked = not present.all()
    with gdal_ready(GDAL_TIFF_INTERNAL_MASK="YES"), georeference_optional(), MemoryFile() as memory:
        with memory.open(
            count=bands, height=height, width=width, dtype=values.dtype, **TILED, **colours, **profile
        ) as target:
            target.write(values)
            if masked:
                target.write_mask(present)
        return bytes(memory.read())


def digest_of(raster: bytes | Path) -> bytes:
    """SHA-256 of a raster file's bytes."""
    if isinstance(raster, bytes):
        return hashlib.sha256(raster).digest()
    with raster.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _copy(path: Path, target: Path, **options: str) -> None:
    try:
        with gdal_ready(GDAL_TIFF_INTERNAL_MASK="YES"), georeference_optional():
            rasterio.shutil.copy(path, target, **TILED, **options)
    except (RasterioError, CPLE_BaseError) as error:
        raise DatasetError(f"{path} cannot be copied: {_without(target.parent, error)}") from error


def _without(folder: str | Path, error: BaseException) -> str:
    """What GDAL said, without the temporary folder that it was copying to."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).replace(f"{folder}/", "the copy's ")


def _unmark_alpha(path: Path) -> None:
    """Make alpha bands plain ones; GDAL's ALPHA=NO does so for RGBA, but not for gray with extra bands."""
    with gdal_ready(), georeference_optional(), rasterio.open(path, "r+") as target:
        kinds = target.colorinterp
        if ColorInterp.alpha in kinds:
            target.colorinterp = [
                ColorInterp.undefined if kind == ColorInterp.alpha else kind for kind in kinds
            ]
