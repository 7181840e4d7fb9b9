"""Outlines in longitude and latitude, with as many points as their edges need to stay where the map has them.

Edges of GeoJSON are straight in longitude and latitude; those of a map are straight on the map, and bend
there. How far is measured: for points along an edge, the distance from the straight line, in pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from icss_core.raster.outlines import Outlines

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from icss_core.raster.lon_lat import LonLat

_TOLERANCE: Final = 0.01
"""Pixels between an edge and its straight pieces. A tenth would do for the eye; but pieces all lie on one
side of an edge, and what is between adds up in the area."""
_SHORTEST: Final = 0.02
"""Pixels: pieces are not made shorter, such as around a pole, where every edge bends."""
_GRID: Final = 16
"""Sides of a map are cut into so many pieces to see how much edges bend anywhere on it."""
_MOST_PIECES: Final = 16
_WIDEST: Final = 45.0
"""Degrees of longitude that a quarter of a piece may span: which way around the Earth it goes is certain."""


class Edges:
    """Places outlines of one map.

    Args:
        place: from pixels of the map to longitude and latitude.
        height: rows of the map.
        width: its columns.
    """

    def __init__(self, place: LonLat, height: int, width: int) -> None:
        self._place = place
        self._middle = np.array([width / 2, height / 2])
        self._unmeasured = self._straight_length(height, width)

    def placed(self, outlines: Outlines) -> Outlines:
        """Outlines in longitude and latitude, with further points where they are needed.

        Longitudes are as `LonLat` gives them: from -180 to 180 unless the map itself counts on.
        """
        corners = self._place(outlines.points)
        starts = np.flatnonzero(~outlines.is_last)
        run = outlines.points[starts + 1] - outlines.points[starts]
        starts = starts[np.abs(run).max(axis=1) > self._unmeasured]
        at, parts, places = self._further(outlines.points, corners, starts)
        if not len(at):
            return _with_points(outlines, corners, outlines.first_points)
        before = np.searchsorted(np.sort(at), outlines.first_points)
        order = np.lexsort((np.append(np.zeros(len(corners)), parts), np.append(np.arange(len(corners)), at)))
        points = np.concatenate([corners, places])[order]
        return _with_points(outlines, points, outlines.first_points + before)

    def _further(
        self, pixels: NDArray[np.float64], corners: NDArray[np.float64], edges: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Points that some edges need besides their corners.

        Args:
            pixels: (points, 2) of the corners.
            corners: (points, 2), the same in longitude and latitude.
            edges: (n,) the points at which these edges start.

        Returns:
            (k,) the point at which the edge starts that needs one; (k,) where on it, from 0 to 1; (k, 2)
            longitude and latitude.
        """
        at: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        parts: list[NDArray[np.float64]] = [np.empty(0)]
        places: list[NDArray[np.float64]] = [np.empty((0, 2))]
        begin, finish = np.zeros(len(edges)), np.ones(len(edges))
        first, last = corners[edges], corners[edges + 1]
        while len(edges):
            run = pixels[edges + 1] - pixels[edges]
            start, end = pixels[edges] + run * begin[:, None], pixels[edges] + run * finish[:, None]
            length = np.abs(end - start).max(axis=1)
            bend = self._bend(start, end, first, last)
            wanted = np.where(bend > _TOLERANCE, np.ceil(np.sqrt(bend / _TOLERANCE)), 1)
            wanted = np.minimum(np.clip(wanted, 1, _MOST_PIECES), np.maximum(length // _SHORTEST, 1))
            count = wanted.astype(np.int64)
            bent = count > 1
            edges, begin, finish, first, last, count = (
                values[bent] for values in (edges, begin, finish, first, last, count)
            )
            if not len(edges):
                break
            piece = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            owner = np.repeat(np.arange(len(edges)), count)
            step = ((finish - begin) / count)[owner]
            edges, begin, end_of = edges[owner], begin[owner] + piece * step, finish[owner]
            is_first, is_final = piece == 0, piece == count[owner] - 1
            finish = np.where(is_final, end_of, begin + step)
            run = pixels[edges + 1] - pixels[edges]
            inner = ~is_first
            between = self._place(pixels[edges[inner]] + run[inner] * begin[inner, None])
            firsts, lasts = first[owner], last[owner]
            firsts[inner] = between
            lasts[~is_final] = between
            first, last = firsts, lasts
            at.append(edges[inner])
            parts.append(begin[inner])
            places.append(between)
        return np.concatenate(at), np.concatenate(parts), np.concatenate(places)

    def _bend(
        self,
        start: NDArray[np.float64],
        end: NDArray[np.float64],
        first: NDArray[np.float64],
        last: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """How far edges (n,) are from the straight line between their ends; infinite where nobody can tell.

        Args:
            start: (n, 2) pixels.
            end: (n, 2) pixels.
            first: (n, 2) longitude and latitude of the start.
            last: (n, 2) of the end.

        Returns:
            (n,) pixels, across the edge: what is off along it does no harm.
        """
        chord = self._place.difference(last, first)
        inner = [start + (end - start) * part for part in (0.25, 0.5, 0.75)]
        # a step across, towards the middle of the map, where pixels surely have a place
        run = (end - start) / np.abs(end - start).max(axis=1)[:, None]
        across = run[:, ::-1] * np.sign(self._middle - inner[1])
        every = self._place(np.concatenate([*inner, inner[1] + across]))
        quarter, half, late, beside = np.split(every, 4)
        tangent = self._place.difference(late, quarter) / (np.abs(end - start).max(axis=1)[:, None] / 2)
        sideways = self._place.difference(beside, half)
        unit = np.abs(_cross(sideways, tangent))
        off = [
            np.abs(_cross(self._place.difference(true, first + chord * part), tangent))
            for true, part in ((quarter, 0.25), (half, 0.5), (late, 0.75))
        ]
        with np.errstate(divide="ignore", invalid="ignore"):
            bend = np.where(np.max(off, axis=0) == 0, 0, np.max(off, axis=0) / unit)
        certain = np.isfinite(bend)
        if not self._place.counts_on:
            along = np.stack([first, quarter, half, late, last])
            for one, other in zip(along[1:], along[:-1], strict=True):
                certain &= np.abs(self._place.difference(one, other)[:, 0]) < _WIDEST
        return np.where(certain, bend, np.inf)

    def _straight_length(self, height: int, width: int) -> float:
        """Pixels up to which an edge anywhere on the map is straight enough, so that none need be measured.

        Edges between neighbours of a grid are measured; what bends is the square of its length.
        """
        rows, cols = np.linspace(0, height, _GRID + 1), np.linspace(0, width, _GRID + 1)
        nodes = np.stack(np.meshgrid(cols, rows), axis=-1)
        start = np.concatenate([nodes[:, :-1].reshape(-1, 2), nodes[:-1].reshape(-1, 2)])
        end = np.concatenate([nodes[:, 1:].reshape(-1, 2), nodes[1:].reshape(-1, 2)])
        length = np.abs(end - start).max(axis=1)
        bend = self._bend(start, end, self._place(start), self._place(end))
        # around a pole it is steep, and the grid may have missed the worst
        is_smooth = np.isfinite(bend).all() and np.mean(bend >= bend.max() / 4) > 0.1
        if not is_smooth and bend.max() > _TOLERANCE / 100:
            return 0.0
        if self._place.counts_on and bend.max() < 1e-6:
            return float("inf")
        with np.errstate(divide="ignore"):
            straight = length * np.sqrt(_TOLERANCE / (4 * bend))
        return float(np.minimum(straight, length).min())


def _with_points(
    outlines: Outlines, points: NDArray[np.float64], first_points: NDArray[np.int64]
) -> Outlines:
    return Outlines(outlines.indices, outlines.first_rings, first_points, points)


def _cross(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    return area
