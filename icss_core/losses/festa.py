"""FESTA: pulls the scores of a pixel to those of its neighbours, and pushes them away from the least similar.

The published code compares each anchor with each pixel in tensors of anchors times pixels: 9.3 times the cost
of a plain iteration. Minima pass a gradient only to where they are attained, so it is enough to *find* those
places, without gradient and without such a tensor, and to evaluate three distances for each anchor.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from icss_core.errors import InvalidParameterError
from icss_core.losses.nearest import nearest

NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""Row and column offsets of the 8-neighbourhood."""

_EPS = 1e-8  # added to the product of the two lengths, as in the published code


class FestaTerms(NamedTuple):
    """Per image and anchor, not weighted: (B, n) each."""

    feature_neighbour: Tensor
    """Smallest squared distance to any other pixel."""
    spatial_neighbour: Tensor
    """Smallest squared distance to one of the 8 neighbours."""
    far: Tensor
    """Smallest 1 + cosine over all pixels."""


def festa_terms(maps: Tensor, anchors: Tensor) -> FestaTerms:
    """The three distances of each anchor (Hua et al., "Semantic segmentation with sparse labels", FESTA).

    Exact: the same values as comparing every anchor with every pixel. As in ICSS the maps are logits and the
    cosine has 1 added; unlike its published code neighbours never wrap around the border.

    Args:
        maps: (B, K, H, W) float, H and W at least 3.
        anchors: (n,) int64, row * W + column, none on the border; the same for every image.

    Returns:
        FestaTerms, differentiable in the anchors' scores and in those they are compared with. Where two
        pixels attain a minimum, one of them gets the gradient.

    Raises:
        InvalidParameterError: shapes do not fit, or an anchor lies on the border or outside.
    """
    _validate_args(maps, anchors)
    batch, width = maps.shape[0], maps.shape[3]
    scores = maps.to(torch.promote_types(maps.dtype, torch.float32)).flatten(2).transpose(1, 2)  # (B, HW, K)
    own = scores[:, anchors]
    with torch.no_grad():
        unit = functional.normalize(scores, dim=2)
        offsets = torch.tensor([row * width + col for row, col in NEIGHBOURS], device=maps.device)
        around = anchors[:, None] + offsets  # (n, 8)
        spatial = (scores[:, around] - own[:, :, None]).square().sum(dim=3).argmin(dim=2)
        near = torch.stack([nearest(own[i], scores[i], exclude=anchors) for i in range(batch)])
        # of unit vectors the smallest cosine with a is the smallest distance to -a
        far = torch.stack([nearest(-unit[i, anchors], unit[i]) for i in range(batch)])
    beside = torch.gather(around.expand(batch, -1, -1), 2, spatial[:, :, None])[:, :, 0]
    opposite = _rows(scores, far)
    lengths = own.norm(dim=2) * opposite.norm(dim=2)
    return FestaTerms(
        (_rows(scores, near) - own).square().sum(dim=2),
        (_rows(scores, beside) - own).square().sum(dim=2),
        1 + (own * opposite).sum(dim=2) / (lengths + _EPS),
    )


def draw_anchors(
    height: int, width: int, *, fraction: float, generator: torch.Generator | None = None
) -> Tensor:
    """Anchors drawn uniformly, with replacement, from the pixels that have all 8 neighbours.

    Args:
        height: of the maps, at least 3.
        width: of the maps, at least 3.
        fraction: number of anchors as a fraction of all pixels (FESTA: 0.01); at least one is drawn.
        generator: on the CPU, decides the draw.

    Returns:
        (n,) int64, row * width + column.
    """
    amount = max(int(fraction * height * width), 1)
    rows = torch.randint(1, height - 1, (amount,), generator=generator)
    return rows * width + torch.randint(1, width - 1, (amount,), generator=generator)


def _rows(scores: Tensor, positions: Tensor) -> Tensor:
    """(B, n, K): the scores at positions (B, n)."""
    return torch.gather(scores, 1, positions[:, :, None].expand(-1, -1, scores.shape[2]))


def _validate_args(maps: Tensor, anchors: Tensor) -> None:
    if maps.ndim != 4 or min(maps.shape[2:]) < 3:
        raise InvalidParameterError(f"maps must be (B, K, H, W) of at least 3 x 3, not {tuple(maps.shape)}")
    if anchors.ndim != 1 or anchors.dtype != torch.int64 or not anchors.numel():
        raise InvalidParameterError(f"anchors must be (n,) int64, not {anchors.dtype} {tuple(anchors.shape)}")
    height, width = maps.shape[2:]
    rows, cols = anchors // width, anchors % width
    inside = (rows > 0) & (rows < height - 1) & (cols > 0) & (cols < width - 1)
    if not bool(inside.all()):
        first = int(anchors[~inside][0])
        raise InvalidParameterError(
            f"anchor {first} lies on or outside the border of {height} x {width} pixels"
        )
