"""Cross-entropy on the few pixels that have a label."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE
from icss_core.losses.label_map import check_range, check_shapes


def partial_cross_entropy(
    logits: Tensor, labels: Tensor, *, class_weights: Tensor | None = None, ignore: int = IGNORE
) -> Tensor:
    """Cross-entropy averaged over the labelled pixels of a batch.

    With weights w the value is sum(w_y * nll) / sum(w_y) over labelled pixels, as in ICSS (Lenczner et al.,
    "Incremental semantic segmentation of remote sensing images with sparse annotations"; its published
    `_compute_loss`). Log-probabilities are accepted as logits: log-softmax twice changes nothing.

    Deviation: without any labelled pixel, or with weight zero on all of them, the value is 0 and the gradient
    0; the published code gives NaN in value there. Only labelled pixels are read, so the cost grows with
    their number and not with the size of the map.

    Args:
        logits: (B, N, H, W) float, any real values.
        labels: (B, H, W) int64, class indices in [0, N), or `ignore` for pixels without label.
        class_weights: (N,) float, not negative; None counts every labelled pixel alike.
        ignore: value of unlabelled pixels.

    Returns:
        Scalar of the dtype of `logits` (float32 for 16-bit logits), not negative.

    Raises:
        InvalidParameterError: shapes or dtypes do not fit, or a label is neither a class nor `ignore`.
    """
    _validate_args(logits, labels, class_weights)
    scores, targets = _labelled_scores(logits, labels, ignore)
    losses = functional.cross_entropy(scores, targets, reduction="none")
    if class_weights is None:
        return losses.sum() / max(losses.numel(), 1)
    weights = class_weights.detach().to(losses)[targets]
    total = weights.sum()
    return (weights * losses).sum() / torch.where(total > 0, total, torch.ones_like(total))


def class_balanced_cross_entropy(
    logits: Tensor, labels: Tensor, *, cap: int | None = None, ignore: int = IGNORE
) -> Tensor:
    r"""Cross-entropy that weighs the classes of a batch equally, whatever their numbers of pixels.

    .. math:: L = \sum_c v_c L_c / \sum_c v_c, \qquad v_c = \min(n_c, \mathrm{cap})

    where L_c is the mean over the n_c labelled pixels of class c in the batch, and v_c the weight of the
    class. With `cap=None` all classes present weigh the same (v_c = 1): a hundred clicks count as much as
    thousands of pseudo-labels, but so does a class with a single labelled pixel. With a cap, a class reaches
    its full weight at `cap` pixels; a class with fewer weighs in proportion to its number of pixels, as in
    `partial_cross_entropy`. `cap=1` equals None; a cap above every count equals `partial_cross_entropy`.

    Not in the ICSS paper: its mean over pixels lets 3000 pseudo-labels outweigh 300 clicks, and its inverse
    frequency weights explode when a class has a dozen pixels.

    Args:
        logits: (B, N, H, W) float, any real values.
        labels: (B, H, W) int64, class indices in [0, N), or `ignore`.
        cap: number of pixels in this batch from which a class has its full weight, at least 1; None: all
            classes weigh the same.
        ignore: value of unlabelled pixels.

    Returns:
        Scalar, not negative; 0 with gradient 0 when no pixel is labelled.

    Raises:
        InvalidParameterError: shapes, dtypes, labels or `cap` do not fit.
    """
    _validate_args(logits, labels, None)
    if cap is not None and cap < 1:
        raise InvalidParameterError(f"cap must be at least 1 pixel, not {cap}")
    scores, targets = _labelled_scores(logits, labels, ignore)
    losses = functional.cross_entropy(scores, targets, reduction="none")
    counts = torch.bincount(targets, minlength=logits.shape[1])
    votes = counts.clamp(max=1 if cap is None else cap).to(losses)
    weights = (votes / counts.clamp(min=1))[targets]
    return (weights * losses).sum() / votes.sum().clamp(min=1)


def _labelled_scores(logits: Tensor, labels: Tensor, ignore: int) -> tuple[Tensor, Tensor]:
    """Logits (n, N) and labels (n,) of the labelled pixels, in at least float32."""
    labelled = labels != ignore
    targets = labels[labelled]
    scores = logits.movedim(1, -1)[labelled]
    check_range(targets, logits.shape[1], ignore)
    return scores.to(torch.promote_types(scores.dtype, torch.float32)), targets


def _validate_args(logits: Tensor, labels: Tensor, class_weights: Tensor | None) -> None:
    check_shapes(logits, labels)
    if class_weights is not None and class_weights.shape != logits.shape[1:2]:
        raise InvalidParameterError(
            f"class_weights must be ({logits.shape[1]},), not {tuple(class_weights.shape)}"
        )
