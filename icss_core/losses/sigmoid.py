"""Losses of LwF-MC, whose classifier decides on each class independently, by a sigmoid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from icss_core.labels import IGNORE
from icss_core.losses.distillation import check_old_logits
from icss_core.losses.label_map import Reduction, check_range, check_shapes, mean_over_pixels

if TYPE_CHECKING:
    from torch import Tensor


def sigmoid_cross_entropy(
    logits: Tensor, labels: Tensor, *, over: Reduction = "all", ignore: int = IGNORE
) -> Tensor:
    """Binary cross-entropy of each class against all others, summed over the classes.

    Rebuffi et al., "iCaRL", arXiv 1611.07725, on pixels, as the published code of MiB has it for LwF-MC.

    Args:
        logits: (B, N, H, W) float, any real values.
        labels: (B, H, W) int64, class indices in [0, N), or `ignore`.
        over: see `Reduction`; the published training takes "all".
        ignore: value of pixels without label.

    Returns:
        Scalar, not negative; 0 with gradient 0 where no pixel is labelled.

    Raises:
        InvalidParameterError: shapes, dtypes or labels do not fit.
    """
    return mean_over_pixels(sigmoid_cross_entropy_map(logits, labels, ignore=ignore), labels != ignore, over)


def sigmoid_cross_entropy_map(logits: Tensor, labels: Tensor, *, ignore: int = IGNORE) -> Tensor:
    """The summands of `sigmoid_cross_entropy`: (B, H, W), 0 where nothing is labelled."""
    check_shapes(logits, labels)
    check_range(labels[labels != ignore], logits.shape[1], ignore)
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    own = scores.gather(1, labels.masked_fill(labels == ignore, 0)[:, None])[:, 0]
    # sum over classes of log(1 + e^z), and the true class pays -z less: no one-hot map is made
    losses = functional.softplus(scores).sum(dim=1) - own
    return torch.where(labels == ignore, torch.zeros_like(losses), losses)


def sigmoid_distillation(logits: Tensor, old_logits: Tensor) -> Tensor:
    """Binary cross-entropy of the old classes' answers against the memory network's, summed over them.

    Rebuffi et al., iCaRL; the published code of MiB multiplies the mean over pixels and classes by O and
    weighs it 10 (LwF-MC).

    Args:
        logits: (B, N, H, W) float of the updated network, old classes first.
        old_logits: (B, O, H, W) float of the memory network, 1 <= O <= N; taken as constant.

    Returns:
        Scalar, not negative: the mean over all pixels.

    Raises:
        InvalidParameterError: shapes do not fit.
    """
    check_old_logits(logits, old_logits)
    dtype = torch.promote_types(logits.dtype, torch.float32)
    targets = torch.sigmoid(old_logits.detach().to(dtype))
    answers = logits[:, : old_logits.shape[1]].to(dtype)
    losses = functional.binary_cross_entropy_with_logits(answers, targets, reduction="none")
    return losses.sum(dim=1).mean()
