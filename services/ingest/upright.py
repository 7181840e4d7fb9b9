"""Images as the GeoTIFFs that data sets are made of, written by the pixels that are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import rasterio
from rasterio.windows import Window as RasterioWindow

from icss_core.raster.environment import gdal_ready, georeference_optional
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from pathlib import Path

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
