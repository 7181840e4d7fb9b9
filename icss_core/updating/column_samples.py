"""Hypercolumns of the labelled pixels of an update, gathered tile by tile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from icss_core.continual.replay import Replay
from icss_core.labels import IGNORE
from icss_core.losses import labelled_features

if TYPE_CHECKING:
    from collections.abc import Sequence

_GRID: Final = 64
"""Places along a side of a tile at which features are looked at for their mean and variance."""


class ColumnSamples(NamedTuple):
    """Hypercolumns of labelled pixels, and statistics of the whole working area."""

    columns: Tensor
    """(m, D) float32, the features of all levels side by side."""
    logits: Tensor
    """(m, N) float32, of the network itself at these pixels."""
    classes: Tensor
    """(m,) int64."""
    mean: Tensor
    """(D,) of all pixels, labelled or not."""
    std: Tensor
    """(D,), positive."""
    clicked: Tensor
    """(m,) bool: an annotator said so, not the memory network."""

    def clicks(self, bias: Tensor) -> Replay:
        """Those that an annotator labelled, for the version that is made from them.

        Args:
            bias: (N,) of the network's classifier.
        """
        columns, logits, classes = (
            one[self.clicked].cpu() for one in (self.columns, self.logits - bias.detach(), self.classes)
        )
        return Replay(columns.half(), logits.half(), classes, torch.full_like(classes, logits.shape[1]))

    def accuracy_on_clicks(self, predicted: Tensor) -> dict[int, float]:
        """By label of a click, the fraction of the clicks that are predicted right.

        Those with -1 do not count; NaN where none does.
        """
        right, judged = predicted == self.classes, self.clicked & (predicted >= 0)
        return {
            label: float(right[judged & (self.classes == label)].float().mean())
            for label in sorted(set(self.classes[self.clicked].tolist()))
        }


class ColumnCollector:
    """Gathers the hypercolumns of labelled pixels, tile by tile."""

    def __init__(self) -> None:
        self._columns: list[Tensor] = []
        self._logits: list[Tensor] = []
        self._classes: list[Tensor] = []
        self._clicked: list[Tensor] = []
        self._sums: Tensor | None = None
        self._squares: Tensor | None = None
        self._number = 0

    def add(self, features: Sequence[Tensor], logits: Tensor, labels: Tensor, clicked: Tensor) -> None:
        """Look at a tile.

        Args:
            features: maps (1, C, h, w) of the network on the tile, in the order of its columns.
            logits: (1, N, H, W) of the network.
            labels: (1, H, W) int64, 255 = unlabelled.
            clicked: (1, H, W) bool, whether an annotator gave the label.
        """
        # inference tensors cannot enter autograd later; copies can
        rows = [labelled_features(one.clone(), labels, assignment="bilinear") for one in features]
        self._columns.append(torch.cat([one.features for one in rows], dim=1))
        self._logits.append(logits.permute(0, 2, 3, 1)[labels != IGNORE].float())
        self._classes.append(rows[0].classes)
        self._clicked.append(clicked[labels != IGNORE])
        # on a coarse grid: means and variances of a few thousand places a tile are exact enough
        coarse = [functional.adaptive_avg_pool2d(one.float(), _GRID).flatten(2)[0] for one in features]
        places = torch.cat(coarse).double()
        sums, squares = places.sum(dim=1), places.square().sum(dim=1)
        self._sums = sums if self._sums is None else self._sums + sums
        self._squares = squares if self._squares is None else self._squares + squares
        self._number += places.shape[1]

    def samples(self) -> ColumnSamples:
        """All that was gathered; at least one tile must have been added."""
        assert self._sums is not None  # noqa: S101 - a working area has at least one tile
        assert self._squares is not None  # noqa: S101
        mean = self._sums / self._number
        variance = (self._squares / self._number - mean.square()).clamp(min=0)
        # a channel that never changes is only shifted
        std = torch.where(variance > 1e-12, variance.sqrt(), torch.ones_like(variance))
        return ColumnSamples(
            torch.cat(self._columns).float(),
            torch.cat(self._logits),
            torch.cat(self._classes),
            mean.float(),
            std.float(),
            torch.cat(self._clicked),
        )
