"""Cars: on the road, at the kerb and in car parks. They keep the class of the ground they stand on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from services.ingest.town.canvas import Town, box
from services.ingest.town.streets import ASPHALT

if TYPE_CHECKING:
    from services.ingest.town.site import Site

PAINTS = ((0.75, 0.75, 0.76), (0.08, 0.08, 0.09), (0.45, 0.46, 0.48), (0.42, 0.06, 0.05), (0.08, 0.14, 0.32))


def drive(site: Site) -> None:
    """Put cars on every piece of asphalt, in their lanes or parked."""
    net, rng = site.net, site.rng
    for swap, lines, wide, pieces, crossings in (
        (False, net.us, net.wide_u, net.pieces_u, net.vs),
        (True, net.vs, net.wide_v, net.pieces_v, net.us),
    ):
        for line, width, kinds in zip(lines, wide, pieces, strict=True):
            for start, end, kind in zip(crossings[:-1], crossings[1:], kinds, strict=False):
                for _ in range(int(rng.poisson((end - start) / 22)) if kind == ASPHALT else 0):
                    lane = rng.choice((-1, 1)) * (width / 4 if rng.random() < 0.5 else width / 2 - 1.2)
                    run = rng.uniform(start + 8, end - 8)
                    u, v = (run, line + lane) if swap else (line + lane, run)
                    turn = net.bend.direction(u, v) + (0 if swap else np.pi / 2)
                    car(site, net.bend.pixel(u, v), turn)


def car(site: Site, at: tuple[float, float], angle: float) -> None:
    """One car at a pixel (row, col), `angle` in radians from the column axis; none in the water."""
    canvas, rng = site.canvas, site.rng
    patch = canvas.patch(*at, angle, 3.5)
    if patch is None or (canvas.labels[patch.place] == Town.WATER).any():
        return
    length = rng.uniform(1.9, 2.5)
    colour = np.array(PAINTS[rng.integers(len(PAINTS))]) * rng.uniform(0.8, 1.1)
    canvas.paint(patch.place, box(patch, length, 0.9), colour, elevation=1.4)
    canvas.paint(patch.place, box(patch, 0.35, 0.75, along=length * 0.35), (0.07, 0.08, 0.10))
    canvas.paint(patch.place, box(patch, 0.3, 0.75, along=-length * 0.6), (0.07, 0.08, 0.10))
