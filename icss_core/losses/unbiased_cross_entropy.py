"""Cross-entropy of a task in which pixels labelled background may belong to an earlier class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE
from icss_core.losses.label_map import Reduction, check_range, check_shapes, mean_over_pixels

if TYPE_CHECKING:
    from torch import Tensor


def unbiased_cross_entropy(
    logits: Tensor, labels: Tensor, *, n_old: int, over: Reduction = "all", ignore: int = IGNORE
) -> Tensor:
    r"""Unbiased cross-entropy of MiB: a background label means "no new class", but may be any old class.

    .. math:: L = -\frac{1}{|I|} \sum_i \log \hat p_{i y_i}, \qquad
              \hat p_{i0} = \sum_{c < O} p_{ic}, \quad \hat p_{ic} = p_{ic} \;\text{for}\; c \ge O

    with p the softmax of all logits (Cermelli et al., "Modeling the Background for Incremental Learning in
    Semantic Segmentation", arXiv 2002.00718, Eqs. 5-6). A label of an old class counts as background, because
    tasks have no such labels. Computed with log-sum-exp. With O = 1 it is the ordinary cross-entropy.

    Args:
        logits: (B, N, H, W) float of the updated network, old classes first.
        labels: (B, H, W) int64, class indices in [0, N), or `ignore`.
        n_old: O, classes before the task, background included; 1 <= O <= N.
        over: see `Reduction`; the published training takes "all".
        ignore: value of pixels without label.

    Returns:
        Scalar, not negative; 0 with gradient 0 where no pixel is labelled.

    Raises:
        InvalidParameterError: shapes, dtypes, labels or `n_old` do not fit.
    """
    pixels = unbiased_cross_entropy_map(logits, labels, n_old=n_old, ignore=ignore)
    return mean_over_pixels(pixels, labels != ignore, over)


def unbiased_cross_entropy_map(logits: Tensor, labels: Tensor, *, n_old: int, ignore: int = IGNORE) -> Tensor:
    """The summands of `unbiased_cross_entropy`: (B, H, W), 0 where nothing is labelled."""
    check_shapes(logits, labels)
    check_range(labels[labels != ignore], logits.shape[1], ignore)
    if not 1 <= n_old <= logits.shape[1]:
        raise InvalidParameterError(f"n_old must be in [1, {logits.shape[1]}], not {n_old}")
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    old = labels < n_old
    # pixels of no new class need an index too; their gathered value is not used
    own = labels.masked_fill(old | (labels == ignore), 0)
    background = torch.logsumexp(scores[:, :n_old], dim=1)
    chosen = torch.where(old, background, scores.gather(1, own[:, None])[:, 0])
    losses = torch.logsumexp(scores, dim=1) - chosen
    return torch.where(labels == ignore, torch.zeros_like(losses), losses)
