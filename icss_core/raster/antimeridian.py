"""Outlines cut where longitude jumps from 180 to -180, as RFC 7946 asks in 3.1.9; and closed over poles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from shapely import MultiPolygon, Polygon, box, make_valid, union_all
from shapely.affinity import translate
from shapely.geometry.polygon import orient

from icss_core.raster.outlines import Outlines

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

_SAME: Final = 1e-9
"""Degrees within which a longitude is taken for the antimeridian itself: a tenth of a millimetre."""


@dataclass(frozen=True, slots=True)
class Turned:
    """Outlines whose rings each go on where they cross the antimeridian."""

    outlines: Outlines
    is_whole: NDArray[np.bool_]
    """(regions,): it lies between -180 and 180, and needs no cut."""
    turns: NDArray[np.int64]
    """(rings,) around the Earth, eastwards: not 0 where a pole lies within."""


def turned(outlines: Outlines, *, counts_on: bool) -> Turned:
    """Let longitudes go on across the antimeridian, and begin each ring between -180 and 180.

    Args:
        outlines: in longitude and latitude.
        counts_on: longitudes go on already; else no edge spans half the Earth.
    """
    first, last = outlines.first_points[:-1], outlines.first_points[1:] - 1
    longitude = outlines.points[:, 0].copy()
    sizes = np.diff(outlines.first_points)
    turn = np.zeros(len(first), np.int64)
    jumps = np.zeros(len(longitude), np.int64)
    if not counts_on:
        jumps[1:] = -np.rint(np.diff(longitude) / 360)
        jumps[first] = 0
    if jumps.any():
        passed = np.cumsum(jumps)
        passed -= np.repeat(passed[first], sizes)
        turn = passed[last]
        longitude += 360.0 * passed
    edge = 360 * np.rint((longitude - 180) / 360) + 180
    longitude = np.where(np.abs(longitude - edge) < _SAME, edge, longitude)
    west, east = np.minimum.reduceat(longitude, first), np.maximum.reduceat(longitude, first)
    shift = np.floor((west + 180) / 360)
    longitude -= np.repeat(360 * shift, sizes)
    is_cut = (east - 360 * shift > 180) | (turn != 0)
    points = np.column_stack([longitude, outlines.points[:, 1]])
    whole = ~np.logical_or.reduceat(is_cut, outlines.first_rings[:-1])
    placed = Outlines(outlines.indices, outlines.first_rings, outlines.first_points, points)
    return Turned(placed, whole, turn)


def cut(
    rings: list[NDArray[np.float64]], turns: list[int], *, smallest: float
) -> Polygon | MultiPolygon | None:
    """A region as polygons between -180 and 180; None where nothing of it is left.

    Args:
        rings: the outer one first, each (n, 2) longitude and latitude that go on, and counter-clockwise as
            seen from above: what is inside lies on the left.
        turns: around the Earth, eastwards, of each; a ring that goes around has a pole inside.
        smallest: square degrees; smaller pieces are slivers of the cut.
    """
    body, *holes = (_filled(ring, turn) for ring, turn in zip(rings, turns, strict=True))
    west, _, east, _ = body.bounds
    for hole in holes:
        before, after = (west - hole.bounds[2]) / 360, (east - hole.bounds[0]) / 360
        for number in range(int(np.ceil(before)), int(np.floor(after)) + 1):
            body = body.difference(translate(hole, 360 * number))
    parts = []
    for number in range(int(np.floor((west + 180) / 360)), int(np.ceil((east - 180) / 360)) + 1):
        middle = 360 * number
        piece = body.intersection(box(middle - 180, -90, middle + 180, 90))
        parts += [translate(part, -middle) for part in _polygons(piece, smallest)]
    pieces = [orient(part) for part in _polygons(union_all(parts), smallest)]
    if not pieces:
        return None
    return pieces[0] if len(pieces) == 1 else MultiPolygon(pieces)


def _filled(ring: NDArray[np.float64], turn: int) -> BaseGeometry:
    """What a ring has on its left; where it goes around the Earth, up to the pole on that side."""
    if turn:
        pole = 90.0 if turn > 0 else -90.0
        ring = np.concatenate([ring, [[ring[-1, 0], pole], [ring[0, 0], pole]]])
    filled = Polygon(ring)
    return filled if filled.is_valid else MultiPolygon(_polygons(make_valid(filled), 0))


def _polygons(geometry: Any, smallest: float) -> list[Polygon]:
    if isinstance(geometry, Polygon):
        return [geometry] if geometry.area > smallest else []
    return [part for member in getattr(geometry, "geoms", []) for part in _polygons(member, smallest)]
