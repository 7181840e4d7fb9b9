"""PLOP's local POD: means of squared activations over rows and columns of cells stay what they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch.nn import functional

from icss_core.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

SCALES: Final = (1, 2, 4)
"""Cells along a side, of the paper."""


def local_pod(
    maps: Sequence[Tensor],
    memory_maps: Sequence[Tensor],
    factors: Sequence[float],
    *,
    scales: Sequence[int] = SCALES,
) -> Tensor:
    """Distance of the pooled squares of several layers, averaged over the layers.

    For each scale s a map is cut into s x s cells of side floor(side / s) from the top left; squares are
    averaged over the columns of each cell and over its rows, and all these means of a sample are one vector.
    The value of a layer is the Euclidean distance between the vectors of the two networks, mean over the
    batch, times its factor (Douillard et al., "PLOP", arXiv 2011.11390, Eqs. 3-6, as the published code has
    it: squares, no normalisation, what is left over at the far edges is unused).

    Deviation: cells of maps that are not square have the sides floor(h / s) and floor(w / s); the published
    code takes square maps only. A distance of 0 has gradient 0 instead of NaN.

    Args:
        maps: of the updated network, each (B, C_l, h_l, w_l) float, at least 1 and the largest scale high and
            wide.
        memory_maps: of the memory network, the same shapes; taken as constant.
        factors: of each layer.
        scales: cells along a side.

    Returns:
        Scalar, not negative. The paper's factor sqrt(all classes / new classes) is the caller's business.

    Raises:
        InvalidParameterError: no layer, or the numbers or shapes do not fit.
    """
    if not len(maps) == len(memory_maps) == len(factors) >= 1 or not scales:
        raise InvalidParameterError(
            f"as many maps, memory maps and factors, one at least; got {len(maps)}, {len(memory_maps)} and "
            f"{len(factors)}, and scales {list(scales)}"
        )
    losses = []
    for one, other, factor in zip(maps, memory_maps, factors, strict=True):
        if one.ndim != 4 or one.shape != other.shape or min(one.shape[2:]) < max(scales):
            raise InvalidParameterError(
                f"maps must be (B, C, h, w) and at least {max(scales)} high and wide; got {tuple(one.shape)} "
                f"and {tuple(other.shape)}"
            )
        apart = _pooled(one, scales) - _pooled(other.detach(), scales)
        losses.append(factor * _norm(apart).mean())
    return torch.stack(losses).sum() / len(losses)


def merge_into_background(logits: Tensor, n_old: int) -> Tensor:
    """Logits (B, O, h, w) with those of the new classes added to the background's, as PLOP pools them.

    Args:
        logits: (B, N, h, w), old classes first.
        n_old: O, 1 <= O <= N.
    """
    background = logits[:, :1] + logits[:, n_old:].sum(dim=1, keepdim=True)
    return torch.cat([background, logits[:, 1:n_old]], dim=1)


def _pooled(values: Tensor, scales: Sequence[int]) -> Tensor:
    """(B, all means) of the squares, in at least float32."""
    squares = values.to(torch.promote_types(values.dtype, torch.float32)).square()
    height, width = squares.shape[2:]
    parts = []
    for scale in scales:
        high, wide = height // scale, width // scale
        used = squares[:, :, : scale * high, : scale * wide]
        # a mean over a cell's columns is a pooling by (1, wide): one value for each row of each cell
        parts += [functional.avg_pool2d(used, (1, wide)), functional.avg_pool2d(used, (high, 1))]
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def _norm(vectors: Tensor) -> Tensor:
    """Euclidean norms of rows (B, n), with gradient 0 at 0."""
    squares = vectors.square().sum(dim=1)
    known = squares > 0
    return torch.where(known, torch.where(known, squares, torch.ones_like(squares)).sqrt(), squares)
