"""Loss of pixels without a label: their class is one of those that the image may show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE
from icss_core.losses.label_map import check_shapes

if TYPE_CHECKING:
    from torch import Tensor


def possible_classes_cross_entropy(
    logits: Tensor, labels: Tensor, possible: Tensor, *, ignore: int = IGNORE
) -> Tensor:
    r"""The unlabelled pixels' part of MiB's weak supervision.

    .. math:: L = -\frac{1}{|U|} \sum_{i \in U} \log \sum_{k \in U_x} p_{ik}

    U are the pixels of the batch without a label, U_x the classes that the image may show (Cermelli et al.,
    "Modeling the Background for Incremental and Weakly-Supervised Semantic Segmentation", Eq. 13, second
    term, without its weight gamma, which the paper does not give). Computed with log-sum-exp.

    Args:
        logits: (B, N, H, W) float, any real values.
        labels: (B, H, W) int64; only where they are `ignore` counts.
        possible: (B, N) bool: the classes labelled anywhere in the whole image, not in the crop, and the
            background where objects are segmented. At least one in each row.
        ignore: value of pixels without label.

    Returns:
        Scalar, not negative; 0 with gradient 0 where every pixel is labelled or every class is possible.

    Raises:
        InvalidParameterError: shapes or dtypes do not fit, or an image has no possible class.
    """
    check_shapes(logits, labels)
    expected = tuple(logits.shape[:2])
    if tuple(possible.shape) != expected or possible.dtype != torch.bool:
        raise InvalidParameterError(
            f"possible must be bool of shape {expected}, not {possible.dtype} of {tuple(possible.shape)}"
        )
    if not bool(possible.any(dim=1).all()):
        raise InvalidParameterError("every image needs at least one possible class")
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    inside = scores.masked_fill(~possible[:, :, None, None], -torch.inf)
    losses = torch.logsumexp(scores, dim=1) - torch.logsumexp(inside, dim=1)
    unlabelled = labels == ignore
    return torch.where(unlabelled, losses, torch.zeros_like(losses)).sum() / unlabelled.sum().clamp(min=1)
