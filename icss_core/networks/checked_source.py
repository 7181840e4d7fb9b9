"""A raster whose pixels are looked at for undeclared fill values on their way to a network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from icss_core.networks.fill_value import fill_value_of, undeclared
from icss_core.networks.normalisation import Normalisation, identity

if TYPE_CHECKING:
    from torch import nn

    from icss_core.raster.source import Pixels, RasterSource
    from icss_core.raster.windows import Window


class CheckedSource:
    """Gives the same pixels as another source, and refuses those that cannot be measurements.

    Args:
        source: what is read.
        normalisation: statistics of the images that the network was trained on; those that change nothing
            say nothing about images, and nothing is refused then.
        name: of the image, for the message; None: its address, where it has one.
    """

    def __init__(
        self, source: RasterSource, normalisation: Normalisation, *, name: str | None = None
    ) -> None:
        self._source = source
        self._name = name
        self._statistics = None if normalisation == identity(len(normalisation.mean)) else normalisation

    @property
    def height(self) -> int:
        """Rows."""
        return self._source.height

    @property
    def width(self) -> int:
        """Columns."""
        return self._source.width

    @property
    def bands(self) -> int:
        """Bands that `read` gives."""
        return self._source.bands

    @property
    def dtype(self) -> str:
        """NumPy name of the data type of the values."""
        return self._source.dtype

    def read(self, window: Window) -> Pixels:
        """Pixels of a window.

        Raises:
            FillValueError: some of them have a value that marks missing data, without the image saying so.
            ImageUnreadableError: the window cannot be read.
        """
        pixels = self._source.read(window)
        # another number of bands is somebody else's to refuse, in better words
        if self._statistics is None or len(pixels.values) != len(self._statistics.mean):
            return pixels
        fill = fill_value_of(
            pixels.values, pixels.valid, mean=self._statistics.mean, std=self._statistics.std
        )
        if fill is not None:
            raise undeclared(
                replace(fill, row=window.row + fill.row, col=window.col + fill.col),
                name=self._name or str(getattr(self._source, "address", "the image")),
                learnt="the images that the network was trained on",
            )
        return pixels


def checked_for(network: nn.Module, source: RasterSource) -> RasterSource:
    """A source as a network's statistics check it; the source itself for a network without statistics."""
    for module in network.modules():
        statistics = getattr(module, "normalisation", None)
        if isinstance(statistics, Normalisation):
            return CheckedSource(source, statistics)
    return source
