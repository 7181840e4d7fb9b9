"""Trees, hedges and grass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from services.ingest.town.canvas import PIXEL, Town, box, edge
from services.ingest.town.noise import fractal_noise, smoothstep, value_noise

if TYPE_CHECKING:
    import numpy.typing as npt

    from services.ingest.town.canvas import Patch
    from services.ingest.town.noise import Field
    from services.ingest.town.site import Site

LEAVES = ((0.10, 0.19, 0.06), (0.14, 0.23, 0.07), (0.08, 0.16, 0.07), (0.17, 0.24, 0.09), (0.12, 0.18, 0.09))
LAWN = (0.22, 0.31, 0.11)


def tree(site: Site, at: tuple[float, float], radius: float) -> None:
    """A crown at a pixel (row, col): a lobed, leafy dome of `radius` metres, lit by the sun."""
    canvas, rng = site.canvas, site.rng
    patch = canvas.patch(*at, rng.uniform(0, np.pi), radius * 1.3)
    if patch is None:
        return
    distance = np.hypot(patch.along, patch.across)
    bearing = np.arctan2(patch.across, patch.along)
    phases = rng.uniform(0, 2 * np.pi, size=3).astype(np.float32)
    lobes = 1 + 0.09 * np.sin(3 * bearing + phases[0]) + 0.07 * np.sin(5 * bearing + phases[1])
    rim = np.float32(radius) * (lobes + 0.06 * np.sin(9 * bearing + phases[2]))
    leaves = value_noise(rng, distance.shape, 2.2)
    cover = edge(distance - rim + np.float32(0.25) * leaves)
    inside = np.clip(1 - (distance / rim) ** 2, 0, 1)
    dome = np.sqrt(inside)
    trunk = radius * rng.uniform(0.7, 1.2)
    elevation = np.float32(trunk) + np.float32(radius) * dome + np.float32(0.35) * leaves
    down_row, down_col = _fall(elevation)
    facing = np.clip(site.sun.on_slope(0.5 * down_row, 0.5 * down_col), 0.15, 1.7)
    colour = np.array(LEAVES[rng.integers(len(LEAVES))], dtype=np.float32) * rng.uniform(0.8, 1.2)
    depth = np.float32(0.72) + np.float32(0.3) * dome + np.float32(0.14) * leaves
    canvas.paint(
        patch.place,
        cover,
        colour * depth[..., None],
        label=Town.VEGETATION,
        elevation=elevation,
        facing=facing,
    )


def lawn(site: Site, patch: Patch, halves: tuple[float, float], lush: float) -> None:
    """A rectangle of grass with worn places, from its half sides in metres and how green it is (0 to 1)."""
    wear = fractal_noise(site.rng, patch.along.shape, 24, 3)
    cover = box(patch, *halves) * smoothstep(wear, -1.9, -1.5)
    site.canvas.paint(patch.place, cover, grass_colour(wear, lush), label=Town.VEGETATION)


def grass_colour(texture: Field, lush: float) -> Field:
    """Albedo (h, w, 3) of grass from a texture field (h, w) and how green it is, 0 to 1."""
    green = np.array(LAWN, dtype=np.float32)
    dry = np.array((0.35, 0.33, 0.17), dtype=np.float32)
    base = dry + np.float32(lush) * (green - dry)
    return np.asarray(np.clip(base * (1 + np.float32(0.13) * texture)[..., None], 0, 1))


def grove(site: Site, blocked: npt.NDArray[np.bool_]) -> None:
    """Scatter trees in clumps over the whole canvas where nothing is `blocked` (H, W)."""
    canvas, rng = site.canvas, site.rng
    shape = (canvas.height, canvas.width)
    candidates = int(canvas.height * canvas.width * 6e-4)
    density = fractal_noise(rng, shape, 160, 3)
    rows, cols = rng.uniform(0, shape[0], candidates), rng.uniform(0, shape[1], candidates)
    for row, col, luck in zip(rows, cols, rng.random(candidates), strict=True):
        place = (int(row), int(col))
        if not blocked[place] and luck < 0.12 + 0.9 * float(smoothstep(density[place], 0.2, 1.3)):
            tree(site, (float(row), float(col)), float(rng.gamma(9, 0.28)) + 0.6)


def _fall(elevation: Field) -> tuple[Field, Field]:
    """Fall of a surface towards greater rows and columns, metres a metre."""
    if min(elevation.shape) < 2:
        flat = np.zeros_like(elevation)
        return flat, flat
    return -np.gradient(elevation, PIXEL, axis=0), -np.gradient(elevation, PIXEL, axis=1)
