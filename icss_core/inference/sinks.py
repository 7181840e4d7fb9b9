"""What takes the finished rows of a class map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from icss_core.labels import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray


class RowSink(Protocol):
    """Takes the rows of a class map."""

    def write(self, row: int, labels: NDArray[np.uint8], confidence: NDArray[np.float32] | None) -> None:
        """Take finished rows. Every row of the raster comes once, in order, top to bottom.

        Args:
            row: raster row of the first of these rows.
            labels: (h, W) uint8 label-space indices, 255 where the source has no data.
            confidence: (h, W) float32 in [0, 1], probability of the label, 0 where there is no data; None
                unless it was asked for.
        """


class ArraySink:
    """Keeps the class map of a raster in memory."""

    def __init__(self, height: int, width: int) -> None:
        self.labels: NDArray[np.uint8] = np.full((height, width), IGNORE, np.uint8)
        """(H, W) uint8; 255 = no data (and rows not written yet)."""
        self.confidence: NDArray[np.float32] | None = None
        """(H, W) float32 in [0, 1]; None unless it was asked for."""

    def write(self, row: int, labels: NDArray[np.uint8], confidence: NDArray[np.float32] | None) -> None:
        """Copy the rows into the arrays."""
        self.labels[row : row + len(labels)] = labels
        if confidence is not None:
            if self.confidence is None:
                self.confidence = np.zeros(self.labels.shape, np.float32)
            self.confidence[row : row + len(labels)] = confidence
