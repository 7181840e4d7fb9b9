"""PodNet as ICSS uses it: keeps row and column sums of the deepest features close to the memory network's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.losses.feature_distillation import feature_difference

if TYPE_CHECKING:
    from torch import Tensor


def pooled_distillation(features: Tensor, memory_features: Tensor) -> Tensor:
    """Mean squared difference between the axis sums of two feature maps.

    Sums over H give (B, C, w), sums over W give (B, C, h); the value is the mean over all B C (h + w) of
    them (ICSS, Lenczner et al., after Douillard et al., "PODNet", arXiv 2004.13513).

    As ICSS, and unlike PODNet: one level only, activations not squared, no L2 normalisation of the
    sums, no factor that grows with the number of classes.

    Args:
        features: (B, C, h, w) float of the updated network.
        memory_features: the same shape, of the memory network on the same pixels; taken as constant.

    Returns:
        Scalar, not negative; 0 where the two agree.

    Raises:
        InvalidParameterError: the shapes differ or are not (B, C, h, w).
    """
    # sums are linear, so the difference is summed once instead of both maps
    difference = feature_difference(features, memory_features)
    rows, columns = difference.sum(dim=2).square(), difference.sum(dim=3).square()
    return (rows.sum() + columns.sum()) / (rows.numel() + columns.numel())
