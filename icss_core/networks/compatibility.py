"""Whether an image is one that a network can map: the bands and the data type it was trained on."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from icss_core.errors import BandMismatchError, DtypeMismatchError


class Image(Protocol):
    """What is asked about an image: any `RasterSource`, or the description of one."""

    @property
    def bands(self) -> int:
        """Bands, masks aside."""

    @property
    def dtype(self) -> str:
        """NumPy name of the data type of the values."""


def check_image(
    image: Image, *, bands: int | None, dtype: str | None, name: str = "the image", hint: str = ""
) -> None:
    """Refuse an image whose bands or data type differ from those that the network was trained on.

    Normalisation subtracts and divides by fixed numbers: reflectances of a uint16 scene, given to a network
    that learnt 8-bit pixels, would all look overexposed to it, and the map would be wrong without any error.

    Args:
        image: its bands and dtype.
        bands: that the network takes (`Architecture.in_channels`); None: not known, and any are taken.
        dtype: NumPy name of the data type the network was trained on (`ModelCard.dtype`); None: not known, or
            several, and any is taken. Floating-point types stand for each other: they hold the same numbers.
        name: of the image, for the message.
        hint: what the message adds where the number of bands is another; see `Raster.alpha_hint`.

    Raises:
        BandMismatchError: another number of bands.
        DtypeMismatchError: another data type.
    """
    if bands is not None and image.bands != bands:
        raise BandMismatchError(
            f"{name} has {image.bands} bands, the network takes {bands}: those of the images it was trained "
            f"on, in the same order{hint}"
        )
    if dtype is None or image.dtype == dtype:
        return
    if not (np.issubdtype(image.dtype, np.floating) and np.issubdtype(dtype, np.floating)):
        raise DtypeMismatchError(
            f"{name} stores {image.dtype}, the network was trained on {dtype}; convert the image, with the "
            "stretch that the training images had"
        )
