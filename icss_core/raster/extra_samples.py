"""One correction to the TIFF files GDAL writes: a second band beside a palette is not opacity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tifffile import EXTRASAMPLE, TiffFile

if TYPE_CHECKING:
    from pathlib import Path

_EXTRA_SAMPLES: Final = "ExtraSamples"


def mark_extra_sample_unspecified(path: Path) -> None:
    """Say in every directory of a TIFF that its one extra sample per pixel is nothing in particular.

    GDAL (3.10, `GTiffDataset::CreateCopy`) declares the second band of a palette image as alpha whatever the
    source says, so that a confidence band would make its map transparent. The tag ExtraSamples (TIFF 6.0,
    p. 31) says which it is. It is one number inside the directory and is written in its place, so the order
    of a Cloud Optimised GeoTIFF stays.

    Args:
        path: a TIFF or BigTIFF.

    Raises:
        ValueError: no TIFF, or a directory of it has not one extra sample.
    """
    with TiffFile(path, mode="r+") as file:
        for page in file.pages:
            tag = page.aspage().tags.get(_EXTRA_SAMPLES)
            if tag is None or tag.count != 1:
                raise ValueError(f"{path} has a directory with {tag.count if tag else 0} extra samples")
            tag.overwrite(int(EXTRASAMPLE.UNSPECIFIED))
