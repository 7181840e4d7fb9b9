"""What gives windows of a raster, and the array in memory as the simplest such source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from icss_core.errors import InvalidParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from icss_core.raster.windows import Window


@dataclass(frozen=True, slots=True)
class Pixels:
    """Pixels of one window."""

    values: NDArray[np.generic]
    """(C, h, w), in the data type of the source, unscaled; 0 wherever `valid` is False."""
    valid: NDArray[np.bool_]
    """(h, w); True where the source has data."""


class RasterSource(Protocol):
    """Anything that gives windows of a raster."""

    @property
    def height(self) -> int:
        """Rows."""

    @property
    def width(self) -> int:
        """Columns."""

    @property
    def bands(self) -> int:
        """Bands that `read` gives; masks are not among them."""

    @property
    def dtype(self) -> str:
        """NumPy name of the data type of the values."""

    def read(self, window: Window) -> Pixels:
        """Pixels of a window, which may stick out of the raster: outside, values are 0 and not valid."""


class ArraySource:
    """An array in memory as a source.

    Args:
        values: (C, H, W), any real data type.
        valid: (H, W) bool, True = data; None: all but pixels with a NaN or infinite band.

    Raises:
        InvalidParameterError: the shapes do not fit together, or the values are complex.
    """

    def __init__(self, values: NDArray[np.generic], valid: NDArray[np.bool_] | None = None) -> None:
        if values.ndim != 3 or np.iscomplexobj(values):
            raise InvalidParameterError(
                f"values must be (bands, height, width) of a real type, not {values.dtype} {values.shape}"
            )
        if valid is not None and valid.shape != values.shape[1:]:
            raise InvalidParameterError(f"valid {valid.shape} does not fit values {values.shape}")
        self._values, self._valid = values, valid
        self.bands, self.height, self.width = values.shape
        self.dtype = values.dtype.name

    def read(self, window: Window) -> Pixels:
        """A copy of the window's pixels."""
        inside = window.clip(self.height, self.width)
        part = np.s_[inside.row : inside.end_row, inside.col : inside.end_col]
        values = self._values[(slice(None), *part)].copy()
        valid = np.ones(values.shape[1:], bool) if self._valid is None else self._valid[part].copy()
        return placed(values, valid, inside, window)


def placed(values: NDArray[np.generic], valid: NDArray[np.bool_], inside: Window, window: Window) -> Pixels:
    """Pixels of the clipped window, put into the window asked for.

    Values that are not finite become not valid, and values that are not valid become 0.

    Args:
        values: (C, h, w) of the window `inside`; changed in place.
        valid: (h, w) of the same; changed in place.
        inside: the part of `window` that lies on the raster.
        window: what was asked for.
    """
    if np.issubdtype(values.dtype, np.floating):
        valid &= np.isfinite(values).all(axis=0)
    if not valid.all():
        values[:, ~valid] = 0
    if inside == window:
        return Pixels(values, valid)
    row, col = inside.row - window.row, inside.col - window.col
    part = np.s_[row : row + inside.height, col : col + inside.width]
    padded = np.zeros((len(values), window.height, window.width), values.dtype)
    padded_valid = np.zeros((window.height, window.width), bool)
    padded[(slice(None), *part)] = values
    padded_valid[part] = valid
    return Pixels(padded, padded_valid)
