"""Sums of overlapping windows, kept only where a later window can still add to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from icss_core.inference.blending import axis_weights, summed_weights
from icss_core.labels import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from icss_core.inference.tiling import Blend, Layout


class Rows(NamedTuple):
    """Finished rows of a class map, as `RowSink.write` takes them."""

    row: int
    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32] | None


class StripAccumulator:
    """Blends the logits of windows and reduces them to labels as soon as no further window touches them.

    Windows come in the order of the layout: row by row, left to right. At any time sums are held for one
    window and for the rows that the current row of windows shares with the next, over the raster's width:
    4 K (window^2 + overlap W) bytes for K classes, whatever the height. (The last row of windows is shifted
    up to end with the raster, so it may share more rows with the one before.)

    Logits are averaged, not probabilities. With window weights w_i, the weighted mean of logits differs from
    that of log-probabilities by sum(w_i logsumexp_i) / sum(w_i), which is the same for all classes of a
    pixel; so labels and, after one softmax, probabilities are those of the normalised geometric mean that the
    ICSS code computes window by window (`methods`: log-softmax, average, softmax). Labels need no division
    by the weights either; confidence does.

    Args:
        layout: the windows.
        n_classes: K.
        blend: weights within a window.
        confidence: whether the probability of the label is wanted.
        device: where the sums are kept; the network's.
    """

    def __init__(
        self, layout: Layout, n_classes: int, *, blend: Blend, confidence: bool, device: torch.device
    ) -> None:
        self._layout = layout
        self._confidence = confidence
        self._device = device
        height, width = layout.window_height, layout.window_width
        row_weights, col_weights = axis_weights(height, blend), axis_weights(width, blend)
        self._weights = (row_weights[:, None] * col_weights).to(device)
        if confidence:
            self._row_sums = summed_weights(layout.height, layout.rows, row_weights).to(device)
            self._col_sums = summed_weights(layout.width, layout.cols, col_weights).to(device)
        self._n_classes = n_classes
        self._open = torch.zeros(n_classes, height, width, device=device)
        self._carried = torch.zeros(n_classes, 0, layout.width, device=device)
        self._next_carried = self._carried
        self._valid = np.zeros((height, layout.width), bool)
        self._labels = torch.empty(0, layout.width, dtype=torch.uint8, device=device)
        self._scores = torch.empty(0, layout.width, device=device)
        self._position = 0

    def add(self, logits: Tensor | None, valid: NDArray[np.bool_]) -> Rows | None:
        """Add the next window; gives the rows it finishes, after the last window of a row of windows.

        Args:
            logits: (K, window_height, window_width) float; None for a window without data.
            valid: (window_height, window_width), True = data.
        """
        layout = self._layout
        row_index, col_index = divmod(self._position, len(layout.cols))
        self._position += 1
        if col_index == 0:
            self._start_row(row_index)
        left = layout.cols[col_index]
        last = col_index == len(layout.cols) - 1
        right = layout.width if last else layout.cols[col_index + 1]
        inside = min(layout.window_width, layout.width - left)
        self._valid[:, left : left + inside] = valid[:, :inside]
        self._add_to_open(logits, shared=0 if col_index == 0 else self._columns_shared(col_index))
        self._finish_columns(left, right)
        return self._finish_row(row_index) if last else None

    def _columns_shared(self, col_index: int) -> int:
        cols = self._layout.cols
        return cols[col_index - 1] + self._layout.window_width - cols[col_index]

    def _finished_height(self, row_index: int) -> int:
        """Rows of this row of windows that no later window touches."""
        rows = self._layout.rows
        if row_index == len(rows) - 1:
            return self._layout.height - rows[row_index]
        return rows[row_index + 1] - rows[row_index]

    def _start_row(self, row_index: int) -> None:
        finished, width = self._finished_height(row_index), self._layout.width
        to_carry = max(self._layout.window_height - finished, 0)
        if row_index == len(self._layout.rows) - 1:
            to_carry = 0
        if to_carry > self._carried.shape[1]:
            # Columns are read from the old sums just before the new ones take their place, so one buffer
            # serves both as long as it is high enough.
            grown = torch.zeros(self._n_classes, to_carry, width, device=self._device)
            self._next_carried = grown
        else:
            self._next_carried = self._carried[:, :to_carry]
        self._labels = torch.empty(finished, width, dtype=torch.uint8, device=self._device)
        if self._confidence:
            self._scores = torch.empty(finished, width, device=self._device)

    def _add_to_open(self, logits: Tensor | None, shared: int) -> None:
        """Move the open sums to the next window and add its weighted logits."""
        if shared:
            self._open[:, :, :shared] = self._open[:, :, -shared:].clone()
        if logits is None:
            self._open[:, :, shared:] = 0
            return
        self._open[:, :, :shared].addcmul_(logits[:, :, :shared], self._weights[:, :shared])
        torch.mul(logits[:, :, shared:], self._weights[:, shared:], out=self._open[:, :, shared:])

    def _finish_columns(self, left: int, right: int) -> None:
        """Reduce the columns that no later window of this row touches; put the rest into the carried sums."""
        sums = self._open[:, :, : right - left]
        above = self._carried.shape[1]
        if above:
            sums[:, :above] += self._carried[:, :, left:right]
        finished, carried = len(self._labels), self._next_carried.shape[1]
        done = sums[:, :finished]
        best, labels = done.max(0)  # several times faster than argmax on a CPU, with the same ties
        self._labels[:, left:right] = labels
        if self._confidence:
            self._scores[:, left:right] = self._probability(done, best, left, right)
        if carried:
            self._next_carried[:, :, left:right] = sums[:, finished : finished + carried]

    def _probability(self, sums: Tensor, best: Tensor, left: int, right: int) -> Tensor:
        """Softmax of the mean logits at their maximum."""
        top = self._layout.rows[(self._position - 1) // len(self._layout.cols)]
        weight = self._row_sums[top : top + sums.shape[1], None] * self._col_sums[left:right]
        return 1 / ((sums - best) / weight).exp_().sum(0)

    def _finish_row(self, row_index: int) -> Rows:
        finished = len(self._labels)
        valid = self._valid[:finished]
        labels = self._labels.cpu().numpy()
        labels[~valid] = IGNORE
        scores = None
        if self._confidence:
            scores = self._scores.cpu().numpy()
            scores[~valid] = 0
        self._carried = self._next_carried
        return Rows(self._layout.rows[row_index], labels, scores)
