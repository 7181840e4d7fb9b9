"""Rectangles of a raster, in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of a raster: upper-left pixel (row, col) and size, all in pixels."""

    row: int
    col: int
    height: int
    width: int

    @property
    def end_row(self) -> int:
        """First row below the window."""
        return self.row + self.height

    @property
    def end_col(self) -> int:
        """First column right of the window."""
        return self.col + self.width

    def clip(self, height: int, width: int) -> Window:
        """The part inside a raster of `height` x `width`; its size is 0 where nothing is left."""
        row, col = min(max(self.row, 0), height), min(max(self.col, 0), width)
        return Window(
            row,
            col,
            max(min(self.end_row, height) - row, 0),
            max(min(self.end_col, width) - col, 0),
        )

    def intersect(self, other: Window) -> Window:
        """The part that lies in both; its size is 0 where there is none."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        return Window(
            row,
            col,
            max(min(self.end_row, other.end_row) - row, 0),
            max(min(self.end_col, other.end_col) - col, 0),
        )

    def outline(self, steps: int) -> NDArray[np.float64]:
        """(4 steps + 1, 2) columns and rows of points around the window, closed, clockwise on the screen.

        Args:
            steps: points on each edge, the same distance apart.
        """
        corners = np.array(
            [
                (self.col, self.row),
                (self.end_col, self.row),
                (self.end_col, self.end_row),
                (self.col, self.end_row),
                (self.col, self.row),
            ],
            np.float64,
        )
        along = np.arange(steps)[:, None] / steps
        edges = [start + along * (end - start) for start, end in pairwise(corners)]
        return np.concatenate([*edges, corners[:1]])

    @property
    def area(self) -> int:
        """Pixels."""
        return self.height * self.width


def origins(length: int, window: int, stride: int) -> list[int]:
    """Positions along one axis that cover [0, length) with windows of one size.

    The last window is shifted back inside instead of padded; a raster shorter than the window has the one
    position 0. Every position occurs once (the published ICSS code repeats edge windows).
    """
    if length <= window:
        return [0]
    return [*range(0, length - window, stride), length - window]


def count_origins(length: int, window: int, stride: int) -> int:
    """How many positions `origins` gives, by arithmetic."""
    return 1 if length <= window else len(range(0, length - window, stride)) + 1


def grid(height: int, width: int, *, window: int, stride: int) -> Iterator[Window]:
    """Windows of one size covering a raster, row by row, left to right."""
    for row in origins(height, window, stride):
        for col in origins(width, window, stride):
            yield Window(row, col, window, window)
