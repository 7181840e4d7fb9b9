"""What lies in the cells of the street net: houses with gardens, big roofs, parks, fields, car parks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from services.ingest.town.buildings import Footprint, flat_building, pitched_house
from services.ingest.town.canvas import PIXEL, Town, box, edge
from services.ingest.town.noise import fractal_noise, value_noise
from services.ingest.town.plants import grass_colour, lawn, tree
from services.ingest.town.site import Lot
from services.ingest.town.streets import SIDEWALK
from services.ingest.town.traffic import car

if TYPE_CHECKING:
    from services.ingest.town.site import Site

HOMES, BIG_ROOFS, PARK, FIELD, CAR_PARK = range(5)
SHARES = (0.64, 0.14, 0.09, 0.07, 0.06)


def build(site: Site) -> None:
    """Fill every cell of the street net that touches the canvas."""
    net, rng = site.net, site.rng
    kerb = SIDEWALK + 0.5
    margin = 70 / PIXEL
    fill = {HOMES: _homes, BIG_ROOFS: _big_roofs, PARK: _park, FIELD: _field, CAR_PARK: _car_park}
    for i in range(len(net.us) - 1):
        for j in range(len(net.vs) - 1):
            cell = Lot(
                float(net.us[i] + net.wide_u[i] / 2 + kerb),
                float(net.vs[j] + net.wide_v[j] / 2 + kerb),
                float(net.us[i + 1] - net.wide_u[i + 1] / 2 - kerb),
                float(net.vs[j + 1] - net.wide_v[j + 1] / 2 - kerb),
            )
            row, col = net.bend.pixel(*cell.middle)
            kind = int(rng.choice(5, p=SHARES))
            if -margin < row < site.canvas.height + margin and -margin < col < site.canvas.width + margin:
                fill[kind](site, cell)


def _homes(site: Site, cell: Lot) -> None:
    rng = site.rng
    frontage, palette = rng.uniform(12.5, 18), str(rng.choice(("tiled", "tiled", "slate")))
    rows = max(round((cell.bottom - cell.top) / 21), 1)
    depth = (cell.bottom - cell.top) / rows
    for top in (cell.top + depth * row for row in range(rows)):
        left = cell.left
        while left + frontage <= cell.right + 1:
            _home(site, Lot(left, top, left + frontage, top + depth), palette)
            left += frontage * rng.uniform(0.98, 1.1)


def _home(site: Site, lot: Lot, palette: str) -> None:
    canvas, net, rng = site.canvas, site.net, site.rng
    patch = lot.patch(site)
    if patch is None or canvas.reserved[patch.place].any():
        return
    (u, v), (half_u, half_v) = lot.middle, lot.halves
    angle = net.bend.direction(u, v)
    if rng.random() < 0.35 + 0.5 * site.lush:
        green = rng.uniform(0.6, 1.0) * site.lush + 0.1
        lawn(site, patch, (half_u - 0.4, half_v - 0.4), green)
    else:
        tone = rng.uniform(0.34, 0.52) * (1 + 0.09 * fractal_noise(rng, patch.along.shape, 20, 3))
        yard = tone[..., None] * np.array((1.0, 0.9, 0.76), np.float32)
        canvas.paint(patch.place, box(patch, half_u - 0.3, half_v - 0.3), yard, label=Town.BACKGROUND)
    if rng.random() < 0.08:
        return
    length, width = rng.uniform(0.62, 0.9) * half_u, min(rng.uniform(3.9, 6.0), half_v * 0.62)
    shift = rng.uniform(-0.35, 0.35) * (half_v - width)
    centre = net.bend.pixel(u, v + shift)
    spot = Footprint(*centre, angle, length, width)
    if width > length:
        spot = Footprint(*centre, angle + np.pi / 2, width, length)
    if rng.random() < 0.13:
        _pool(site, u + rng.uniform(-0.4, 0.4) * half_u, v - np.sign(shift) * half_v * 0.62)
    if rng.random() < 0.16:
        flat_building(site, spot)
    else:
        pitched_house(site, spot, palette)
    for _ in range(int(rng.poisson(1.3 + 1.2 * site.lush))):
        at_u = u + rng.uniform(-0.9, 0.9) * half_u
        at_v = v + rng.choice((-1, 1)) * rng.uniform(0.6, 0.95) * half_v
        tree(site, net.bend.pixel(at_u, at_v), float(rng.uniform(1.2, 3.2)))


def _pool(site: Site, u: float, v: float) -> None:
    canvas, rng = site.canvas, site.rng
    patch = canvas.patch(*site.net.bend.pixel(u, v), site.net.bend.direction(u, v), 7)
    if patch is not None:
        length, width = rng.uniform(3.0, 4.6), rng.uniform(1.7, 2.4)
        rim = box(patch, length + 0.9, width + 0.9)
        canvas.paint(patch.place, rim, (0.66, 0.62, 0.55), label=Town.BACKGROUND)
        ripple = 1 + 0.06 * value_noise(rng, patch.along.shape, 2)
        blue = ripple[..., None] * np.array((0.12, 0.42, 0.50), np.float32)
        canvas.paint(patch.place, box(patch, length, width), blue, label=Town.WATER)


def _big_roofs(site: Site, cell: Lot) -> None:
    rng = site.rng
    if not _hard_ground(site, cell, (0.40, 0.39, 0.37)):
        return
    parts = 1 if cell.right - cell.left < 45 else 2
    step = (cell.right - cell.left) / parts
    tall = bool(rng.random() < 0.35)
    for part in range(parts):
        fraction = rng.uniform(0.5, 0.8), rng.uniform(0.45, 0.8)
        lot = Lot(cell.left + step * part, cell.top, cell.left + step * (part + 1), cell.bottom)
        row, col = site.net.bend.pixel(*lot.middle)
        half_u, half_v = lot.halves[0] * fraction[0], lot.halves[1] * fraction[1]
        spot = Footprint(row, col, site.net.bend.direction(*lot.middle), half_u, half_v)
        flat_building(site, spot, tall=tall)


def _park(site: Site, cell: Lot) -> None:
    canvas, rng = site.canvas, site.rng
    patch = cell.patch(site)
    if patch is None:
        return
    (u, v), (half_u, half_v) = cell.middle, cell.halves
    lawn(site, patch, (half_u, half_v), 0.4 + 0.6 * site.lush)
    inside = box(patch, half_u, half_v)
    path = np.abs(patch.across - np.float32(6) * np.sin(patch.along / np.float32(11))) - np.float32(1.0)
    canvas.paint(patch.place, edge(path) * inside, (0.55, 0.49, 0.38), label=Town.BACKGROUND)
    if rng.random() < 0.5:
        shore = np.hypot(patch.along + 6, patch.across * 1.4) - np.float32(half_u * 0.4)
        pond = edge(shore + 2.2 * fractal_noise(rng, patch.along.shape, 40, 2)) * inside
        canvas.paint(patch.place, pond, (0.09, 0.14, 0.13), label=Town.WATER)
    for _ in range(int(half_u * half_v / 22)):
        row, col = site.net.bend.pixel(u + rng.uniform(-1, 1) * half_u, v + rng.uniform(-1, 1) * half_v)
        radius = float(rng.uniform(1.6, 4.6))
        on_canvas = 0 <= row < canvas.height and 0 <= col < canvas.width
        if on_canvas and canvas.labels[int(row), int(col)] != Town.WATER:
            tree(site, (row, col), radius)


def _field(site: Site, cell: Lot) -> None:
    canvas, rng = site.canvas, site.rng
    patch = cell.patch(site)
    if patch is None:
        return
    cover = box(patch, cell.halves[0] - 2, cell.halves[1] - 2)
    texture = fractal_noise(rng, patch.along.shape, 30, 4)
    furrows = np.sin(patch.across * np.float32(2 * np.pi / rng.uniform(1.5, 3.0)))
    if rng.random() < 0.25 + 0.5 * site.lush:
        colour = grass_colour(texture + 0.9 * furrows, 0.5 + 0.5 * site.lush)
        canvas.paint(patch.place, cover, colour, label=Town.VEGETATION)
    else:
        soil = np.array((0.40, 0.30, 0.21), np.float32) * rng.uniform(0.8, 1.25)
        tone = (1 + 0.10 * texture + 0.06 * furrows)[..., None]
        canvas.paint(patch.place, cover, soil * tone, label=Town.BACKGROUND)


def _car_park(site: Site, cell: Lot) -> None:
    rng, bend = site.rng, site.net.bend
    if not _hard_ground(site, cell, (0.29, 0.29, 0.30)):
        return
    for v in np.arange(cell.top + 6, cell.bottom - 6, 8.5):
        for u in np.arange(cell.left + 6, cell.right - 6, 2.7):
            if rng.random() < 0.62:
                car(site, bend.pixel(u, v), bend.direction(u, v) + np.pi / 2)


def _hard_ground(site: Site, cell: Lot, colour: tuple[float, float, float]) -> bool:
    """Pave a cell; False, and nothing done, where it is off the canvas or by the water."""
    rng = site.rng
    patch = cell.patch(site)
    if patch is None or site.canvas.reserved[patch.place].any():
        return False
    shape = patch.along.shape
    grain = 0.05 * value_noise(rng, shape, 1) + 0.07 * fractal_noise(rng, shape, 40, 3)
    tone = np.array(colour, np.float32) * (1 + grain)[..., None]
    cover = box(patch, cell.halves[0] - 0.5, cell.halves[1] - 0.5)
    site.canvas.paint(patch.place, cover, tone, label=Town.BACKGROUND)
    return True
