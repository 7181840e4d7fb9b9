"""Sums of overlapping windows, kept only where a later window can still add to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from icss_core.inference.blending import axis_weights, summed_weights
from icss_core.inference.tiling import OPEN_WIDTH
from icss_core.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from icss_core.inference.tiling import Blend, Layout


class Rows(NamedTuple):
    """Finished rows of a class map, as `RowSink.write` takes them."""

    row: int
    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32] | None

    def below(self, first: int) -> Rows:
        """Those from row `first` on."""
        skip = max(0, first - self.row)
        confidence = None if self.confidence is None else self.confidence[skip:]
        return Rows(self.row + skip, self.labels[skip:], confidence)


class StripAccumulator:
    """Blends the logits of windows and reduces them to labels as soon as no further window touches them.

    Windows come in the order of the layout: band by band, left to right. At any time sums are held for a few
    columns of windows and for the rows that this band shares with the next, over the raster's width:
    4 K (768 window + overlap W) bytes for K classes, whatever the height (twice the first term at the end).

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
        row_weights = axis_weights(layout.window_height, blend)
        col_weights = axis_weights(layout.window_width, blend)
        # Classes come last, as in the networks' channels-last logits: adding up is five times faster so.
        self._weights = (row_weights[:, None] * col_weights)[:, :, None].to(device)
        self._all_weights_are_1 = blend == "constant"
        if confidence:
            self._row_sums = summed_weights(layout.height, layout.rows, row_weights).to(device)
            self._col_sums = summed_weights(layout.width, layout.cols, col_weights).to(device)
        self._n_classes = n_classes
        self._carried = torch.zeros(0, layout.width, n_classes, device=device)
        self._next_carried = self._carried
        self._bands = layout.bands
        self._places: Iterator[tuple[int, int, bool]] = iter(())
        self._band = -1

    def add(self, logits: Tensor | None, valid: NDArray[np.bool_]) -> Rows | None:
        """Add the next window; gives the rows it finishes, after the last window of a band.

        Args:
            logits: (K, window_height, window_width) float; None for a window without data.
            valid: (window_height, window_width), True = data.
        """
        place = next(self._places, None)
        if place is None:
            self._band += 1
            self._start_band()
            place = next(self._places)
        col_index, offset, last_in_column = place
        layout = self._layout
        left = layout.cols[col_index]
        end = left + layout.window_width
        if end > self._open_from + self._open.shape[1]:
            self._finish_columns(left)
            self._move_open(left, layout.cols[col_index - 1] + layout.window_width)
        rows = slice(offset, offset + layout.window_height)
        self._valid[rows, left:end] = valid[:, : layout.width - left]
        if logits is not None:
            sums = self._open[rows, left - self._open_from : end - self._open_from]
            if self._all_weights_are_1:
                sums += logits.permute(1, 2, 0)
            else:
                sums.addcmul_(logits.permute(1, 2, 0), self._weights)
        if not last_in_column or col_index < len(layout.cols) - 1:
            return None
        self._finish_columns(layout.width)
        return self._finish_band()

    def _start_band(self) -> None:
        """Make the buffers of the next band; the rows it shares with the one before are in `_carried`."""
        layout, band = self._layout, self._bands[self._band]
        height = band[-1] - band[0] + layout.window_height
        last = self._band == len(self._bands) - 1
        finished = (layout.height if last else self._bands[self._band + 1][0]) - band[0]
        self._places = iter(
            (col_index, row - band[0], row == band[-1])
            for col_index in range(len(layout.cols))
            for row in band
        )
        width = min(max(layout.window_width, OPEN_WIDTH), layout.cols[-1] + layout.window_width)
        self._open = torch.zeros(height, width, self._n_classes, device=self._device)
        self._open_from = 0
        self._valid = np.zeros((height, layout.width), bool)
        self._labels = torch.empty(finished, layout.width, dtype=torch.uint8, device=self._device)
        if self._confidence:
            self._scores = torch.empty(finished, layout.width, device=self._device)
        to_carry = 0 if last else height - finished
        if to_carry > len(self._carried):
            self._next_carried = torch.zeros(to_carry, layout.width, self._n_classes, device=self._device)
        else:
            # columns are read from the old sums just before the new ones take their place: one buffer serves
            self._next_carried = self._carried[:to_carry]

    def _move_open(self, left: int, summed_to: int) -> None:
        """Let the open sums begin at column `left`; columns up to `summed_to` have something in them."""
        first, shared = left - self._open_from, max(summed_to - left, 0)
        if shared:
            self._open[:, :shared] = self._open[:, first : first + shared].clone()
        self._open[:, shared:] = 0
        self._open_from = left

    def _finish_columns(self, right: int) -> None:
        """Reduce the open columns before `right`, where no later window of the band adds anything.

        Their rows that the next band shares go to the carried sums.
        """
        left = self._open_from
        sums = self._open[:, : right - left]
        above = len(self._carried)
        if above:
            sums[:above] += self._carried[:, left:right]
        finished, carried = len(self._labels), len(self._next_carried)
        done = sums[:finished]
        best, labels = done.max(2)  # faster than argmax on a CPU, and gives what confidence needs
        self._labels[:, left:right] = labels
        if self._confidence:
            self._scores[:, left:right] = self._probability(done, best, left, right)
        if carried:
            self._next_carried[:, left:right] = sums[finished : finished + carried]

    def _probability(self, sums: Tensor, best: Tensor, left: int, right: int) -> Tensor:
        """Softmax of the mean logits at their maximum."""
        top = self._bands[self._band][0]
        weight = self._row_sums[top : top + len(sums), None] * self._col_sums[left:right]
        return 1 / ((sums - best[:, :, None]) / weight[:, :, None]).exp_().sum(2)

    def _finish_band(self) -> Rows:
        valid = self._valid[: len(self._labels)]
        labels = self._labels.cpu().numpy()
        labels[~valid] = IGNORE
        scores = None
        if self._confidence:
            scores = self._scores.cpu().numpy()
            scores[~valid] = 0
        self._carried = self._next_carried
        return Rows(self._bands[self._band][0], labels, scores)
