"""Sparse labels drawn from ground truth: a point, or a scribble, in each region.

As people label for weak supervision: one click on every object (Bearman et al., "What's the point"), or one
line through it (Lin et al., "ScribbleSup"). A region is a connected piece of one class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.csgraph import dijkstra

from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

_GRID: Final = 96
"""Nodes along the longer side of a region between which a scribble finds its way."""


def point_per_region(
    mask: NDArray[np.uint8], *, seed: int | Sequence[int], smallest: int = 16, without: Collection[int] = ()
) -> NDArray[np.uint8]:
    """One labelled pixel in each region, uniform over its pixels.

    Args:
        mask: (H, W) uint8, ground truth, 255 where there is none.
        seed: the same mask and seed give the same points.
        smallest: regions of fewer pixels get none; nobody would see them.
        without: classes that get none, such as the background.

    Returns:
        (H, W) uint8, 255 but for the points.

    Raises:
        InvalidParameterError: the mask is not (H, W) uint8.
    """
    rng = np.random.default_rng(seed)
    points = np.full_like(mask, IGNORE)
    for label, top, left, region in _regions(mask, smallest, without):
        rows, cols = np.nonzero(region)
        drawn = int(rng.integers(len(rows)))
        points[top + rows[drawn], left + cols[drawn]] = label
    return points


def scribble_per_region(
    mask: NDArray[np.uint8], *, smallest: int = 64, width: int = 3, without: Collection[int] = ()
) -> NDArray[np.uint8]:
    """One line in each region, from one end to the other, as far from the borders as possible.

    The line is the shortest way between the two ends of the region, where a step costs more the nearer it is
    to a border; the ends are found by walking as far as one can, twice.

    Args:
        mask: (H, W) uint8, ground truth, 255 where there is none.
        smallest: regions of fewer pixels get none.
        width: of the lines, in pixels; they never leave their region.
        without: classes that get none.

    Returns:
        (H, W) uint8, 255 but for the lines.

    Raises:
        InvalidParameterError: the mask is not (H, W) uint8, or the width is below 1.
    """
    if width < 1:
        raise InvalidParameterError(f"a line is at least 1 pixel wide, not {width}")
    scribbles = np.full_like(mask, IGNORE)
    for label, top, left, region in _regions(mask, smallest, without):
        part = scribbles[top : top + region.shape[0], left : left + region.shape[1]]
        part[_line(region, width)] = label
    return scribbles


def _regions(
    mask: NDArray[np.uint8], smallest: int, without: Collection[int]
) -> Iterator[tuple[int, int, int, NDArray[np.bool_]]]:
    """Label, first row, first column and pixels (h, w) of each region, class by class from the top."""
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise InvalidParameterError(f"the mask must be (H, W) uint8, not {mask.dtype} of shape {mask.shape}")
    for label in np.unique(mask).tolist():
        if label == IGNORE or label in without:
            continue
        numbered, _ = ndimage.label(mask == label)
        sizes = np.bincount(numbered.ravel())
        for number, (rows, cols) in enumerate(ndimage.find_objects(numbered), start=1):
            if sizes[number] >= smallest:
                yield label, rows.start, cols.start, numbered[rows, cols] == number


def _line(region: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Pixels (h, w) of a line through a region (h, w)."""
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    stride = -(-max(region.shape) // _GRID)
    nodes = _deepest(depth, stride)
    graph = _graph(nodes, depth, stride)
    start = int(np.where(nodes >= 0, depth.ravel()[nodes], 0).argmax())
    end, _ = _farthest(graph, start)
    place, before = _farthest(graph, end)
    drawn = np.zeros(region.shape, bool)
    while place >= 0:
        earlier = int(before[place])
        _draw(drawn, int(nodes.flat[place]), int(nodes.flat[place if earlier < 0 else earlier]))
        place = earlier
    if width > 1:
        drawn = ndimage.binary_dilation(drawn, np.ones((width, width), bool))
    line: NDArray[np.bool_] = drawn & region
    return line


def _deepest(depth: NDArray[np.float64], stride: int) -> NDArray[np.int64]:
    """Index (flat) of the deepest pixel of each cell of a coarse grid; -1 where a cell is outside."""
    height, width = depth.shape
    rows, cols = -(-height // stride), -(-width // stride)
    padded = np.zeros((rows * stride, cols * stride))
    padded[:height, :width] = depth
    cells = padded.reshape(rows, stride, cols, stride).swapaxes(1, 2).reshape(rows, cols, -1)
    best = cells.argmax(axis=2)
    row = np.arange(rows)[:, None] * stride + best // stride
    col = np.arange(cols) * stride + best % stride
    return np.where(cells.max(axis=2) > 0, row * width + col, -1)


def _graph(nodes: NDArray[np.int64], depth: NDArray[np.float64], stride: int) -> sparse.csr_array:
    """Straight steps inside the region between cells; each costs its length, more near a border."""
    number = np.arange(nodes.size).reshape(nodes.shape)
    starts, ends = [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = np.s_[: nodes.shape[0] - down, max(-right, 0) : nodes.shape[1] - max(right, 0)]
        there = np.s_[down:, max(right, 0) : nodes.shape[1] + min(right, 0)]
        both = (nodes[here] >= 0) & (nodes[there] >= 0)
        starts.append(number[here][both])
        ends.append(number[there][both])
    start, end = np.concatenate(starts), np.concatenate(ends)
    width = depth.shape[1]
    one, other = nodes.ravel()[start], nodes.ravel()[end]
    from_place, to_place = (np.stack([place // width, place % width]) for place in (one, other))
    along = np.linspace(0, 1, 4 * stride + 1)[:, None]
    on_the_way = np.rint(from_place[:, None] + along * (to_place - from_place)[:, None]).astype(np.intp)
    inside = (depth[on_the_way[0], on_the_way[1]] > 0).all(axis=0)
    start, end, one, other = start[inside], end[inside], one[inside], other[inside]
    length = np.hypot(one // width - other // width, one % width - other % width)
    shallow = np.minimum(depth.ravel()[one], depth.ravel()[other])
    cost = np.maximum(length, 1e-6) * (1 + 4 * stride / shallow)
    return sparse.csr_array((cost, (start, end)), shape=(nodes.size, nodes.size))


def _farthest(graph: sparse.csr_array, start: int) -> tuple[int, NDArray[np.int32]]:
    """The node that is farthest to walk to, and for each node the one before it, below 0 at the start."""
    distance, before = dijkstra(graph, directed=False, indices=start, return_predecessors=True)
    return int(np.argmax(np.where(np.isfinite(distance), distance, -1))), before


def _draw(drawn: NDArray[np.bool_], one: int, other: int) -> None:
    """A straight line between two pixels (flat indices)."""
    width = drawn.shape[1]
    (row, col), (to_row, to_col) = divmod(one, width), divmod(other, width)
    steps = max(abs(to_row - row), abs(to_col - col), 1)
    along = np.arange(steps + 1) / steps
    drawn[
        np.rint(row + along * (to_row - row)).astype(int), np.rint(col + along * (to_col - col)).astype(int)
    ] = True
