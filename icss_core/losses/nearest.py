"""Exact nearest neighbours among many points of few dimensions, without a table of all distances.

The points are cut into blocks of equal size, sorted by one channel, each slab by a second, each column by a
third. The bounding box of a block gives a lower bound on the distance to all points in it. Each query is
compared with the points of its nearest box first, and then only with those of boxes whose bound is below that
distance.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_BLOCK = 64
_SORTED_CHANNELS = 3
_LARGEST = 1 << 21  # numbers held at once


def nearest(queries: Tensor, points: Tensor, *, exclude: Tensor | None = None) -> Tensor:
    """The nearest point of each query, by Euclidean distance.

    Args:
        queries: (n, K) float.
        points: (P, K) float, finite; at least 2.
        exclude: (n,) int64, for each query a point that is skipped; None: no point is.

    Returns:
        (n,) int64, positions in `points`; any of them where several are nearest.
    """
    search = _Search(queries, points, exclude)
    for part in torch.split(torch.arange(len(queries), device=points.device), search.queries_at_once):
        bounds = search.bounds(part)
        search.open(part, bounds.argmin(dim=1))
        rows, blocks = torch.nonzero(bounds < search.best[part, None], as_tuple=True)
        search.open(part[rows], blocks)
    return search.nearest_point


class _Search:
    """The best of each query so far."""

    def __init__(self, queries: Tensor, points: Tensor, exclude: Tensor | None) -> None:
        self._queries, self._points, self._exclude = queries, points, exclude
        self._table = _blocks(points)
        members = points[self._table]
        self._low, self._high = members.amin(dim=1), members.amax(dim=1)
        self.best = torch.full((len(queries),), torch.inf, dtype=points.dtype, device=points.device)
        # 0 where no distance is finite: the caller handles scores that are not finite
        self.nearest_point = torch.zeros(len(queries), dtype=torch.int64, device=points.device)
        self.queries_at_once = max(_LARGEST // len(self._table), 1)

    def bounds(self, which: Tensor) -> Tensor:
        """(n, M): lower bounds, up to rounding, on squared distances from queries to the points of blocks."""
        squares = torch.zeros(len(which), len(self._low), dtype=self.best.dtype, device=which.device)
        for channel in range(self._points.shape[1]):
            value = self._queries[which, channel, None]
            outside = torch.maximum(self._low[:, channel] - value, value - self._high[:, channel])
            squares.addcmul_(outside.clamp_(min=0), outside)
        return squares.mul_(1 - 1e-5)

    def open(self, which: Tensor, blocks: Tensor) -> None:
        """Compare queries (m,) with all points of a block each (m,); a query may occur more than once."""
        step = max(_LARGEST // (self._table.shape[1] * self._points.shape[1]), 1)
        for queried, chosen in zip(torch.split(which, step), torch.split(blocks, step), strict=True):
            members = self._table[chosen]
            distances = (self._points[members] - self._queries[queried][:, None]).square_().sum(dim=2)
            if self._exclude is not None:
                distances.masked_fill_(members == self._exclude[queried][:, None], torch.inf)
            smallest, place = distances.min(dim=1)
            before = self.best[queried]
            self.best.scatter_reduce_(0, queried, smallest, "amin")
            won = (smallest < before) & (smallest == self.best[queried])
            self.nearest_point[queried[won]] = members[won].gather(1, place[won][:, None])[:, 0]


def _blocks(points: Tensor) -> Tensor:
    """(M, m) int64: the points of each block; the last point is repeated to fill the last ones."""
    amount, channels = points.shape
    sorted_by = points.var(dim=0).topk(min(channels, _SORTED_CHANNELS)).indices.tolist()
    cuts = max(round((amount / _BLOCK) ** (1 / len(sorted_by))), 1)
    size = math.ceil(amount / cuts ** len(sorted_by))
    order = torch.arange(cuts ** len(sorted_by) * size, device=points.device).clamp_(max=amount - 1)[None]
    for channel in sorted_by:
        places = points[order, channel].argsort(dim=1)
        order = order.gather(1, places).view(len(order) * cuts, -1)
    return order
