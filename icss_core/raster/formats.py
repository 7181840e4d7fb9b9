"""The raster formats that images and masks may have: the one table that everybody reads.

A file's format is told by its first bytes, as GDAL does, wherever it lies; its name only decides which files
of a folder are taken for images at all. Formats that can name other files (VRT, WMS and their like) are not
among them: a user who may name an image could make the server read anything
(https://gdal.org/en/stable/drivers/raster/vrt.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterFormat:
    """What is known of one format."""

    name: str
    """For people."""
    drivers: tuple[str, ...]
    """GDAL's names of what opens it; a driver that this GDAL lacks is passed over."""
    extensions: tuple[str, ...]
    """Endings of its files in lower case; the first is that of files we name."""
    media_type: str
    signatures: tuple[bytes, ...]
    """What its files start with, one of these."""
    masks: bool
    """Whether it can hold a mask: it must keep every value."""


GEOTIFF: Final = RasterFormat(
    name="GeoTIFF",
    drivers=("GTiff", "COG"),
    extensions=(".tif", ".tiff"),
    media_type="image/tiff",
    signatures=(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    masks=True,
)
PNG: Final = RasterFormat(
    name="PNG",
    drivers=("PNG",),
    extensions=(".png",),
    media_type="image/png",
    signatures=(b"\x89PNG\r\n\x1a\n",),
    masks=True,
)
JPEG: Final = RasterFormat(
    name="JPEG",
    drivers=("JPEG",),
    extensions=(".jpg", ".jpeg"),
    media_type="image/jpeg",
    signatures=(b"\xff\xd8\xff",),
    masks=False,
)
JPEG_2000: Final = RasterFormat(
    name="JPEG 2000",
    drivers=("JP2OpenJPEG",),
    extensions=(".jp2",),
    media_type="image/jp2",
    signatures=(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    masks=True,
)

FORMATS: Final = (GEOTIFF, PNG, JPEG, JPEG_2000)
"""All of them may be read from disk and from the object store alike, and be uploaded."""

DRIVERS: Final = tuple(driver for kind in FORMATS for driver in kind.drivers)
"""GDAL drivers that may open an image."""

IMAGE_EXTENSIONS: Final = frozenset(ending for kind in FORMATS for ending in kind.extensions)
"""Endings of files that are taken for images, in lower case."""

MASK_EXTENSIONS: Final = frozenset(ending for kind in FORMATS if kind.masks for ending in kind.extensions)
"""Endings of files that are taken for masks, in lower case."""

FORMAT_NAMES: Final = f"{', '.join(kind.name for kind in FORMATS[:-1])} or {FORMATS[-1].name}"
"""All formats, for messages."""


def format_of(start: bytes) -> RasterFormat | None:
    """Which format a file is, by its first 12 bytes or more; None where it is no format we read."""
    return next((kind for kind in FORMATS if start.startswith(kind.signatures)), None)
