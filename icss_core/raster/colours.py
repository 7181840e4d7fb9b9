"""What the stored values of an image mean as colours.

GDAL itself makes red, green and blue of CMYK, YCbCr and CIELAB. What it leaves as indices are palettes, and
bilevel and inverted grey TIFFs, to which it gives a palette; and grey of less than 8 bits keeps its values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rasterio.enums import ColorInterp

from icss_core.errors import ImageUnreadableError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

_GREY_BITS = frozenset({1, 2, 4})


@dataclass(frozen=True, slots=True)
class ColourTable:
    """From stored value to colour."""

    colours: NDArray[np.uint8]
    """(K, C); C is 3 for red, green and blue, 1 for grey."""
    present: NDArray[np.bool_]
    """(K,); False for colours that are wholly transparent, and for values without a colour."""

    def look_up(
        self, values: NDArray[np.generic], bands: list[int]
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """Colours (len(bands), h, w) uint8 of stored values (h, w), and which (h, w) are present.

        Args:
            values: unsigned integers.
            bands: which of the C, from 0.
        """
        inside = np.minimum(values.astype(np.intp), len(self.colours) - 1)
        return self.colours[:, bands].T[:, inside], self.present[inside] & (values == inside)


def colour_table(dataset: DatasetReader, address: str) -> ColourTable | None:
    """What makes colours of an image's one band; None where its bands are colours, or measurements, already.

    Raises:
        ImageUnreadableError: it has a palette beside other bands than alpha.
    """
    kinds = dataset.colorinterp
    if ColorInterp.palette in kinds:
        if any(kind not in {ColorInterp.palette, ColorInterp.alpha} for kind in kinds):
            raise ImageUnreadableError(
                f"{address} has a palette beside other bands, as a class map has beside its confidence; an "
                "image has a palette alone, or bands without one"
            )
        return _of_palette(dataset, kinds.index(ColorInterp.palette) + 1)
    bits = int(dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 8))
    if dataset.dtypes[0] == "uint8" and bits in _GREY_BITS and _colours(dataset) == 1:
        levels = np.linspace(0, 255, 2**bits).astype(np.uint8)[:, None]
        return ColourTable(levels, np.ones(len(levels), bool))
    return None


def _colours(dataset: DatasetReader) -> int:
    return sum(kind != ColorInterp.alpha for kind in dataset.colorinterp)


def _of_palette(dataset: DatasetReader, band: int) -> ColourTable:
    entries = dataset.colormap(band)
    table = np.zeros((max(entries, default=0) + 1, 4), np.uint8)
    for index, entry in entries.items():
        table[index] = entry
    colours, opacity = table[:, :3], table[:, 3]
    if dataset.driver == "GTiff" and _is_grey(dataset, band, colours):
        colours = colours[:, :1]
    return ColourTable(np.ascontiguousarray(colours), opacity > 0)


def _is_grey(dataset: DatasetReader, band: int, colours: NDArray[np.uint8]) -> bool:
    """Whether GDAL made the palette up: of a bilevel TIFF, or one whose 0 is white."""
    if dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES":
        return True
    bilevel = dataset.tags(band, ns="IMAGE_STRUCTURE").get("NBITS") == "1"
    return bilevel and {tuple(colour) for colour in colours.tolist()} <= {(0, 0, 0), (255, 255, 255)}
