"""Everything that is the same for all objects of one town while it is painted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from services.ingest.town.canvas import Canvas, Patch
    from services.ingest.town.light import Sun
    from services.ingest.town.streets import StreetNet


@dataclass(frozen=True, slots=True)
class Site:
    """The canvas, the sun over it, its streets, how green it is (0 to 1), and the source of chance."""

    canvas: Canvas
    sun: Sun
    net: StreetNet
    lush: float
    rng: np.random.Generator


@dataclass(frozen=True, slots=True)
class Lot:
    """A rectangle of street coordinates, metres."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> tuple[float, float]:
        """Street coordinates (u, v) of the centre."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    @property
    def halves(self) -> tuple[float, float]:
        """Half the sides along u and v, metres."""
        return (self.right - self.left) / 2, (self.bottom - self.top) / 2

    def patch(self, site: Site) -> Patch | None:
        """The pixels around the lot, in its own frame; None off the canvas."""
        row, col = site.net.bend.pixel(*self.middle)
        reach = float(np.hypot(*self.halves))
        return site.canvas.patch(row, col, site.net.bend.direction(*self.middle), reach)
