"""What SDR itself does and ICSS does not: distances between class means, and sparse features."""

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
        Scalar, not negative; 0 with fewer than two classes. Means less than a millionth apart count as that.
    """
    means = current.means[current.valid]
    pairs = ~torch.eye(len(means), dtype=torch.bool, device=means.device)
    squares = (means[:, None] - means[None]).square().sum(dim=2)[pairs]
    return (1 / squares.clamp(min=1e-12).sqrt()).sum() / max(squares.numel(), 1)


def sparsity(features: Tensor, labels: Tensor, *, ignore: int = IGNORE) -> Tensor:
    """Each pixel's features, scaled by the largest of its class, shall be few and large.

    Mean over all pixels of sum_k exp(f_k / m_c) / sum_k f_k / m_c, with m_c the largest feature of class c in
    the batch (SDR, Eq. 8, as the published code has it: pixels without label are a class of their own).
    Unlike there, the sum below counts as a tenth where it is less, a tenth of one feature at its largest:
    behind a ReLU a pixel may have none, and a single one would outweigh all others by orders of magnitude.

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
