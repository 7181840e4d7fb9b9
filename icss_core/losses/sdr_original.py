"""Two terms of the original SDR that ICSS leaves out: separation of class means, and sparse features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.losses.prototypes import Prototypes


def separation(current: Prototypes) -> Tensor:
    """Mean over ordered pairs of classes of one over the distance of their means: classes move apart.

    Michieli and Zanuttigh, "SDR", arXiv 2103.06342, Eq. 6. `sdr.repulsion` is what ICSS makes of it.

    Args:
        current: class means of a batch, differentiable.

    Returns:
        Scalar, not negative; 0 with fewer than two classes. Distances below 1e-6 count as 1e-6.
    """
    means = current.means[current.valid]
    pairs = ~torch.eye(len(means), dtype=torch.bool, device=means.device)
    squares = (means[:, None] - means[None]).square().sum(dim=2)[pairs]
    return (1 / squares.clamp(min=1e-12).sqrt()).sum() / max(squares.numel(), 1)


def sparsity(features: Tensor, labels: Tensor, *, ignore: int = IGNORE) -> Tensor:
    """Makes features sparse: each pixel should have few, large features relative to the largest of its class.

    Mean over all pixels of sum_k exp(f_k / m_c) / sum_k f_k / m_c, with m_c the largest feature of class c in
    the batch (SDR, Eq. 8, as the published code has it: pixels without label are a class of their own).
    Deviation: the divisor, the sum of the scaled features, is at least 0.1. After a ReLU all features of a
    pixel may be zero, and one such pixel would outweigh all others by orders of magnitude.

    Args:
        features: (B, C, h, w) float, not negative.
        labels: (B, h, w) int64, at the features' resolution.
        ignore: value of pixels without label.

    Raises:
        InvalidParameterError: shapes do not fit.
    """
    if features.ndim != 4 or labels.shape != (features.shape[0], *features.shape[2:]):
        raise InvalidParameterError(
            f"features must be (B, C, h, w) and labels (B, h, w); got {tuple(features.shape)} and "
            f"{tuple(labels.shape)}"
        )
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    highest = wide.amax(dim=1).flatten()
    classes = labels.flatten().clamp(0, ignore)
    largest = highest.new_zeros(ignore + 1).scatter_reduce(0, classes, highest, "amax", include_self=False)
    scaled = wide / (largest[classes].view_as(labels)[:, None] + 1e-15)
    return (scaled.exp().sum(dim=1) / scaled.sum(dim=1).clamp(min=0.1)).mean()
