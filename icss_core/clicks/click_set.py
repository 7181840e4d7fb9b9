"""Labelled points of one raster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from icss_core.errors import ClickError
from icss_core.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from icss_core.raster.windows import Window

Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ClickSet:
    """Points of one raster and their classes; one label per pixel, order kept, arrays read-only.

    A pixel given several times keeps its last label, also where the classes disagree: clicking again is
    how an annotator corrects a click.

    Attributes:
        rows: (n,) int64, pixel row of the raster, 0 at the top.
        cols: (n,) int64, pixel column, 0 at the left.
        labels: (n,) int64, index in the label space, 0 to 254.

    Raises:
        ClickError: the arrays differ in length or are not integers, a coordinate is negative, or a label is
            not a class index; the message names the first such click.
    """

    rows: Integers
    cols: Integers
    labels: Integers

    def __post_init__(self) -> None:
        arrays = {name: _integers(name, getattr(self, name)) for name in ("rows", "cols", "labels")}
        rows, cols, labels = arrays.values()
        if not len(rows) == len(cols) == len(labels):
            raise ClickError(
                f"rows, cols and labels must have one length, not {len(rows)}, {len(cols)} and {len(labels)}"
            )
        wrong = (rows < 0) | (cols < 0) | (labels < 0) | (labels >= IGNORE)
        if wrong.any():
            first = int(np.argmax(wrong))
            raise ClickError(
                f"click {first}: row {rows[first]}, column {cols[first]}, label {labels[first]}; "
                f"rows and columns start at 0 and labels are class indices from 0 to {IGNORE - 1}"
            )
        kept = _last_of_each(rows, cols)
        for name, values in arrays.items():
            array = values[kept]
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @classmethod
    def empty(cls) -> ClickSet:
        """No click at all."""
        nothing = np.empty(0, np.int64)
        return cls(nothing, nothing, nothing)

    @classmethod
    def from_lists(cls, lists: Mapping[str, list[int]]) -> ClickSet:
        """What `to_lists` wrote, as it comes back from JSON.

        Raises:
            ClickError: it is not that.
        """
        try:
            return cls(*(np.asarray(lists[name]) for name in ("rows", "cols", "labels")))
        except (KeyError, TypeError, ValueError) as error:
            raise ClickError("clicks are written as three lists: rows, cols and labels") from error

    def to_lists(self) -> dict[str, list[int]]:
        """Rows, columns and labels as plain lists, for JSON."""
        return {name: getattr(self, name).tolist() for name in ("rows", "cols", "labels")}

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        """Same clicks in the same order."""
        return isinstance(other, ClickSet) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("rows", "cols", "labels")
        )

    __hash__ = None  # type: ignore[assignment]  # arrays have no hash; equality is by value

    def counts(self) -> dict[int, int]:
        """Number of clicks by label, for the labels there are, in ascending order."""
        labels, amounts = np.unique(self.labels, return_counts=True)
        return {int(label): int(amount) for label, amount in zip(labels, amounts, strict=True)}

    def label_map(self, window: Window) -> NDArray[np.uint8]:
        """Labels of a window: (window.height, window.width) uint8, 255 where nothing was clicked.

        The window may stick out of the raster. The cost is one pass over the clicks and one over the window.
        """
        labels = np.full((window.height, window.width), IGNORE, np.uint8)
        inside = self._inside(window)
        labels[self.rows[inside] - window.row, self.cols[inside] - window.col] = self.labels[inside]
        return labels

    def within(self, window: Window) -> ClickSet:
        """The clicks inside a window, in coordinates of the raster."""
        return self.select(self._inside(window))

    def of(self, labels: Iterable[int]) -> ClickSet:
        """The clicks with one of these labels."""
        return self.select(np.isin(self.labels, list(labels)))

    def select(self, which: NDArray[np.bool_] | Integers) -> ClickSet:
        """The clicks at a boolean mask (n,) or at positions (k,)."""
        return ClickSet(self.rows[which], self.cols[which], self.labels[which])

    def merged(self, other: ClickSet) -> ClickSet:
        """These clicks followed by the other ones; where both label a pixel, the label of `other` is kept."""
        return ClickSet(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.cols, other.cols]),
            np.concatenate([self.labels, other.labels]),
        )

    def _inside(self, window: Window) -> NDArray[np.bool_]:
        rows = (self.rows >= window.row) & (self.rows < window.end_row)
        return rows & (self.cols >= window.col) & (self.cols < window.end_col)


def _integers(name: str, values: ArrayLike) -> Integers:
    array = np.asarray(values)
    if array.size == 0:
        array = array.astype(np.int64).reshape(-1)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ClickError(
            f"{name} must be whole numbers in one dimension, not {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64)


def _last_of_each(rows: Integers, cols: Integers) -> Integers:
    """Positions of the last click on each pixel, ascending."""
    if not len(rows):
        return np.empty(0, np.int64)
    keys = rows * (int(cols.max()) + 1) + cols
    _, first_from_the_end = np.unique(keys[::-1], return_index=True)
    return np.sort(len(keys) - 1 - first_from_the_end)
