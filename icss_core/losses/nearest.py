"""Exact nearest neighbours among the pixels of a map, without a table of all distances.

Neighbouring pixels have similar scores. The pixels are cut into blocks of 8 x 8, each with the box its scores
fill; the distance to a box bounds the distance to everything inside. Blocks are opened in the order of their
bounds until the next bound is no better than what was found: a few per cent of all distances, on any device.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

_BLOCK = 8
_OPENED_FIRST = 8  # blocks per query in the first round; doubled in each that follows
_LARGEST = 1 << 22  # distances held at once


def nearest(queries: Tensor, points: Tensor, shape: tuple[int, int], *, exclude: Tensor | None) -> Tensor:
    """The nearest point of each query, by Euclidean distance.

    Args:
        queries: (n, K) float.
        points: (H * W, K) float, row by row.
        shape: H and W. Only the speed depends on points being a map.
        exclude: (n,) int64, a point that is not to be found for its query; None: all may be.

    Returns:
        (n,) int64, positions in `points`; any of them where several are nearest.
    """
    table = _block_table(*shape, points.device)
    blocks = points[table]  # (M, 64, K)
    low, high = blocks.amin(dim=1), blocks.amax(dim=1)
    found = torch.full((len(queries),), -1, dtype=torch.int64, device=points.device)
    best = torch.full((len(queries),), torch.inf, dtype=points.dtype, device=points.device)
    per_query = len(table) * (points.shape[1] + 2)
    for part in torch.split(torch.arange(len(queries), device=points.device), max(_LARGEST // per_query, 1)):
        bounds, order = _bounds(queries[part], low, high).sort(dim=1)
        start, amount, pending = 0, _OPENED_FIRST, part
        while len(pending):
            stop = min(start + amount, len(table))
            here = pending - part[0]
            _open(pending, order[here, start:stop], queries, points, table, exclude, best, found)
            if stop == len(table):
                break
            pending = pending[bounds[here, stop] <= best[pending]]
            start, amount = stop, 2 * amount
    return found


def _bounds(queries: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """(n, M): no point of a block's box is nearer, in squared distance, up to rounding."""
    squares = torch.zeros(len(queries), len(low), dtype=queries.dtype, device=queries.device)
    for channel in range(queries.shape[1]):
        value = queries[:, channel, None]
        outside = torch.maximum(low[:, channel] - value, value - high[:, channel]).clamp_(min=0)
        squares.addcmul_(outside, outside)
    return squares * (1 - 1e-5)


def _open(
    which: Tensor,
    chosen: Tensor,
    queries: Tensor,
    points: Tensor,
    table: Tensor,
    exclude: Tensor | None,
    best: Tensor,
    found: Tensor,
) -> None:
    """Compare queries `which` with the points of their chosen blocks (n, m); updates `best` and `found`."""
    per_query = chosen.shape[1] * table.shape[1] * (points.shape[1] + 2)
    step = max(_LARGEST // per_query, 1)
    for ours, blocks in zip(torch.split(which, step), torch.split(chosen, step), strict=True):
        members = table[blocks].flatten(1)  # (n, 64 m)
        distances = (points[members] - queries[ours][:, None]).square().sum(dim=2)
        if exclude is not None:
            distances.masked_fill_(members == exclude[ours][:, None], torch.inf)
        smallest, place = distances.min(dim=1)
        better = smallest < best[ours]
        winners = ours[better]
        best[winners] = smallest[better]
        found[winners] = members[better].gather(1, place[better][:, None])[:, 0]


@lru_cache(maxsize=8)
def _block_table(height: int, width: int, device: torch.device) -> Tensor:
    """(M, 64) int64: the pixels of each block; blocks that stick out repeat the last row or column."""
    rows = torch.arange(-(-height // _BLOCK) * _BLOCK).clamp(max=height - 1)
    cols = torch.arange(-(-width // _BLOCK) * _BLOCK).clamp(max=width - 1)
    grid = (rows[:, None] * width + cols).unfold(0, _BLOCK, _BLOCK).unfold(1, _BLOCK, _BLOCK)
    return grid.reshape(-1, _BLOCK * _BLOCK).to(device)
