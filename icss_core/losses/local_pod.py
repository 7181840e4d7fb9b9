"""PLOP's local POD: keeps row and column means of squared activations close to the memory network's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch.nn import functional

from icss_core.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

SCALES: Final = (1, 2, 4)
"""Cells along each side of a map, as in the paper."""


def local_pod(
    maps: Sequence[Tensor],
    memory_maps: Sequence[Tensor],
    factors: Sequence[float],
    *,
    scales: Sequence[int] = SCALES,
) -> Tensor:
    """Distance between the pooled squared activations of two networks, averaged over layers.

    For each scale s, a map is cut from the top left into s x s cells of floor(h / s) by floor(w / s). In each
    cell the squared activations are averaged over columns (one mean for each row) and over rows (one for each
    column). All these means of a sample form one vector. The value of a layer is its factor times the
    Euclidean distance between the vectors of the two networks, averaged over the batch.

    Source: Douillard et al., "PLOP", arXiv 2011.11390, Eqs. 3-6, as in the published code: activations are
    squared, nothing is normalised, and rows and columns left over at the bottom and right edges are not used.

    Deviations: maps need not be square, as they must in the published code. A distance of 0 has gradient 0
    instead of NaN.

    Args:
        maps: of the updated network, each (B, C_l, h_l, w_l) float; h_l and w_l at least the largest scale.
        memory_maps: of the memory network, the same shapes; taken as constant.
        factors: factor of each layer.
        scales: numbers of cells along each side.

    Returns:
        Scalar, not negative, without the paper's factor sqrt(all classes / new classes).

    Raises:
        InvalidParameterError: there is no layer, or the numbers or shapes do not fit.
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
    """Old classes' logits (B, O, h, w), with the new classes' added to the background's, as in PLOP.

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
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, torch.ones_like(squares)).sqrt(), squares)
