"""PLOP's labels: confident predictions of the memory network replace the label background."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch.nn import functional

from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE
from icss_core.losses.label_map import check_range, check_shapes

if TYPE_CHECKING:
    from torch import Tensor

LOWEST_THRESHOLD: Final = 0.001
"""Lower limit of the entropy thresholds, for classes that are always predicted with certainty."""


class CompletedLabels(NamedTuple):
    """`labels` (B, H, W) int64; `factors` (B,) float, the fraction of background pixels that kept a label."""

    labels: Tensor
    factors: Tensor


def complete_background(
    labels: Tensor, old_logits: Tensor, thresholds: Tensor, *, n_classes: int, ignore: int = IGNORE
) -> CompletedLabels:
    """Give background pixels the memory network's class where it is certain, and no label where it is not.

    Douillard et al., "PLOP", arXiv 2011.11390, Eqs. 7-9, as the published code has it.

    Args:
        labels: (B, H, W) int64; below O: background of the task (a label of an old class counts as that).
        old_logits: (B, O, H, W) float of the memory network; taken as constant.
        thresholds: (O,) largest entropy by class, see `EntropyMedians`.
        n_classes: N, classes after the task: part of the entropy's scale.
        ignore: value of pixels without label.

    Raises:
        InvalidParameterError: shapes or dtypes do not fit.
    """
    check_shapes(old_logits, labels)
    if thresholds.shape != old_logits.shape[1:2]:
        raise InvalidParameterError(
            f"thresholds must be ({old_logits.shape[1]},), not {tuple(thresholds.shape)}"
        )
    entropy, classes = _entropy(old_logits.detach(), n_classes), old_logits.argmax(dim=1)
    background = (labels < old_logits.shape[1]) & (labels != ignore)
    kept = background & (entropy < thresholds.to(entropy)[classes])
    completed = torch.where(background, torch.where(kept, classes, ignore), labels)
    counts = background.sum(dim=(1, 2)).to(entropy)
    return CompletedLabels(completed, kept.sum(dim=(1, 2)) / (counts + 1e-6))


def completed_cross_entropy(logits: Tensor, completed: CompletedLabels, *, ignore: int = IGNORE) -> Tensor:
    """Cross-entropy with completed labels, each image times its factor, mean over all pixels.

    Args:
        logits: (B, N, H, W) float of the updated network.
        completed: see `complete_background`.
        ignore: value of pixels without label; they count as zero.

    Raises:
        InvalidParameterError: shapes, dtypes or labels do not fit.
    """
    check_shapes(logits, completed.labels)
    check_range(completed.labels[completed.labels != ignore], logits.shape[1], ignore)
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    losses = functional.cross_entropy(scores, completed.labels, ignore_index=ignore, reduction="none")
    return (losses * completed.factors.to(losses)[:, None, None]).mean()


class EntropyMedians:
    """Median entropy of the memory network's predictions, by class, over a data set too large to keep.

    A histogram of `bins` equal bins over [0, highest possible entropy]: the median is exact to half a bin.
    Deviation: the published code adds up the indices of the bins instead of their counts, which gives another
    value.

    Args:
        n_old: O, classes of the memory network.
        n_classes: N, classes after the task.
        bins: number of bins.
    """

    def __init__(self, n_old: int, n_classes: int, *, bins: int = 1000) -> None:
        self._n_classes = n_classes
        # the mean over O classes of -p log p is at most log(O) / O; the scale divides it by log O and log N
        self._highest = 1 / (max(n_old, 1) * math.log(max(n_classes, 2)))
        self.counts = torch.zeros(n_old, bins, dtype=torch.int64)

    def update(self, labels: Tensor, old_logits: Tensor) -> None:
        """Count the background pixels of a batch.

        Args:
            labels: (B, H, W) int64; only the label 0 counts.
            old_logits: (B, O, H, W) float.
        """
        n_old, bins = self.counts.shape
        background = labels == 0
        entropy = _entropy(old_logits.detach(), self._n_classes)[background]
        classes = old_logits.argmax(dim=1)[background]
        part = (entropy / self._highest * bins).long().clamp(0, bins - 1)
        counted = torch.bincount(classes * bins + part, minlength=n_old * bins)
        self.counts += counted.view(n_old, bins).to(self.counts)

    def thresholds(self, *, lowest: float = LOWEST_THRESHOLD) -> Tensor:
        """(O,) float64: the medians, none below `lowest`; `lowest` for classes that were never predicted."""
        totals = self.counts.sum(dim=1, keepdim=True)
        reached = self.counts.cumsum(dim=1) * 2 >= totals
        middle = (reached.double().argmax(dim=1) + 0.5) / self.counts.shape[1] * self._highest
        return torch.where(totals[:, 0] > 0, middle, torch.zeros_like(middle)).clamp(min=lowest)


def _entropy(old_logits: Tensor, n_classes: int) -> Tensor:
    """(B, H, W): mean over the O classes of -p log(p + 1e-8), divided by log O and log N (as published)."""
    probabilities = old_logits.to(torch.promote_types(old_logits.dtype, torch.float32)).softmax(dim=1)
    mean = -(probabilities * (probabilities + 1e-8).log()).mean(dim=1)
    return mean / (math.log(max(old_logits.shape[1], 2)) * math.log(max(n_classes, 2)))
