"""PodNet as ICSS uses it: sums of the deepest features over rows and over columns stay what they were."""

from __future__ import annotations

import torch
from torch import Tensor

from icss_core.errors import InvalidParameterError


def pooled_distillation(features: Tensor, memory_features: Tensor) -> Tensor:
    """Mean squared difference between the axis sums of two feature maps.

    Sums over H give (B, C, w), sums over W give (B, C, h); the value is the mean over all B C (h + w) of
    them (ICSS, Lenczner et al., after Douillard et al., "PODNet", arXiv 2004.13513).

    Deviation of ICSS from PODNet, kept: one level only, activations not squared, no L2 normalisation of the
    sums, no factor that grows with the number of classes.

    Args:
        features: (B, C, h, w) float of the updated network.
        memory_features: the same shape, of the memory network on the same pixels; taken as constant.

    Returns:
        Scalar, not negative; 0 where the two agree.

    Raises:
        InvalidParameterError: the shapes differ or are not (B, C, h, w).
    """
    if features.ndim != 4 or features.shape != memory_features.shape:
        raise InvalidParameterError(
            "features and memory_features must both be (B, C, h, w); "
            f"got {tuple(features.shape)} and {tuple(memory_features.shape)}"
        )
    dtype = torch.promote_types(features.dtype, torch.float32)
    # sums are linear: pooling the difference once is pooling both
    difference = features.to(dtype) - memory_features.detach().to(dtype)
    rows, columns = difference.sum(dim=2).square(), difference.sum(dim=3).square()
    return (rows.sum() + columns.sum()) / (rows.numel() + columns.numel())
