"""Weights of a window's pixels where windows overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from icss_core.inference.tiling import Blend

SIGMA_SCALE = 0.125
"""Standard deviation of the gaussian in window lengths, as in MONAI's `sliding_window_inference`."""


def axis_weights(length: int, blend: Blend) -> Tensor:
    """Weights along one side of a window; the weight of a pixel is the product of its two sides' weights.

    The gaussian is that of MONAI (`monai.data.utils.compute_importance_map`, sigma = 0.125 window lengths),
    with one deviation. MONAI raises products under 0.001 to 0.001, which makes plain averages of most places
    where windows overlap little; here the two axes stay independent, so that one window fades into the next
    in the same way all along their common edge. The smallest weight (about 1e-7, in a corner) is still far
    from vanishing in float32.

    Args:
        length: pixels of the side.
        blend: "constant" (all 1) or "gaussian".

    Returns:
        (length,) float32, in (0, 1], symmetric.
    """
    if blend == "constant":
        return torch.ones(length)
    offset = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
    return torch.exp(-(offset**2) / (2 * (SIGMA_SCALE * length) ** 2)).float()


def summed_weights(length: int, origins: Sequence[int], weights: Tensor) -> Tensor:
    """Sum of the weights of all windows over each position of one axis of the raster.

    Because windows lie on a grid and weights are products, the sum over all windows that cover a pixel is
    the product of its row's and its column's sums: no (H, W) count buffer is needed.

    Args:
        length: pixels of the raster along the axis.
        origins: first pixel of each window.
        weights: (window,) float32, from `axis_weights`.

    Returns:
        (length,) float32, > 0.
    """
    total = torch.zeros(max(length, origins[-1] + len(weights)))
    for origin in origins:
        total[origin : origin + len(weights)] += weights
    return total[:length]
