"""ILT: keeps features close to those of the memory network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from icss_core.errors import InvalidParameterError

if TYPE_CHECKING:
    from torch import Tensor


def feature_distillation(features: Tensor, memory_features: Tensor) -> Tensor:
    """Mean squared difference of two feature maps, over all their elements.

    Michieli and Zanuttigh, "Incremental Learning Techniques for Semantic Segmentation" (ILT), arXiv
    1907.13372, on the encoder's output, as the published code of MiB has it (weight 100).

    Args:
        features: (B, C, h, w) float of the updated network.
        memory_features: the same shape, of the memory network on the same pixels; taken as constant.

    Returns:
        Scalar, not negative; 0 where the two agree.

    Raises:
        InvalidParameterError: the shapes differ or are not (B, C, h, w).
    """
    return feature_difference(features, memory_features).square().mean()


def feature_difference(features: Tensor, memory_features: Tensor) -> Tensor:
    """(B, C, h, w) in at least float32, differentiable in `features` alone.

    Raises:
        InvalidParameterError: the shapes differ or are not (B, C, h, w).
    """
    if features.ndim != 4 or features.shape != memory_features.shape:
        raise InvalidParameterError(
            "features and memory_features must both be (B, C, h, w); "
            f"got {tuple(features.shape)} and {tuple(memory_features.shape)}"
        )
    dtype = torch.promote_types(features.dtype, torch.float32)
    return features.to(dtype) - memory_features.detach().to(dtype)
