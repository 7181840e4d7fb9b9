"""One made-up town from above, with its true classes and its place on the map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from affine import Affine

from icss_core.errors import InvalidParameterError
from icss_core.labels import ClassInfo, LabelSpace
from services.ingest.town.blocks import build
from services.ingest.town.canvas import PIXEL, Canvas, Town, edge
from services.ingest.town.light import Sun, expose
from services.ingest.town.noise import fractal_noise, smoothstep, value_noise
from services.ingest.town.plants import grass_colour, grove
from services.ingest.town.site import Site
from services.ingest.town.streets import StreetNet, pave
from services.ingest.town.traffic import drive

if TYPE_CHECKING:
    import numpy.typing as npt

    from services.ingest.town.noise import Field

TOWN_CLASSES: Final = LabelSpace(
    classes=(
        ClassInfo(name="background", colour=(160, 160, 160)),
        ClassInfo(name="road", colour=(52, 90, 200)),
        ClassInfo(name="building", colour=(226, 72, 52)),
        ClassInfo(name="vegetation", colour=(56, 158, 84)),
        ClassInfo(name="water", colour=(64, 190, 220)),
    )
)
"""Label space of town masks."""
CRS: Final = "EPSG:32632"
"""UTM zone 32 north, metres."""
_ORIGIN = (678_000.0, 4_930_000.0)


@dataclass(frozen=True, slots=True)
class TownScene:
    """A picture and its truth.

    pixels (3, H, W) uint8, red green blue; mask (H, W) uint8, indices of TOWN_CLASSES; transform from
    (col, row) to metres of `crs`.
    """

    pixels: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    crs: str
    transform: Affine


def make_town(*, seed: int, number: int = 0, height: int = 1024, width: int = 1024) -> TownScene:
    """Paint one town scene; the same arguments always give the same scene.

    Args:
        seed: Seed of the whole series.
        number: Which scene of the series; scenes lie side by side on the map.
        height: Rows, at least 64; a pixel is 0.3 m.
        width: Columns, at least 64.

    Raises:
        InvalidParameterError: too small.
    """
    if min(height, width) < 64:
        raise InvalidParameterError(f"a town needs at least 64 x 64 pixels, not {height} x {width}")
    rng = np.random.default_rng([seed, number])
    canvas = Canvas(height, width)
    sun, lush = Sun.draw(rng), float(rng.uniform(0.15, 0.95))
    _ground(canvas, lush, rng)
    water = _water(canvas, rng)
    site = Site(canvas, sun, StreetNet.draw(rng, height, width), lush, rng)
    build(site)
    _flood(canvas, water, rng)
    pave(canvas, site.net, water, rng)
    drive(site)
    blocked = (canvas.labels == Town.ROAD) | (canvas.labels == Town.WATER) | (canvas.labels == Town.BUILDING)
    grove(site, blocked)
    east = _ORIGIN[0] + number * (width + 200) * PIXEL
    return TownScene(
        expose(canvas, sun, rng),
        canvas.labels,
        CRS,
        Affine(PIXEL, 0, east, 0, -PIXEL, _ORIGIN[1]),
    )


def _ground(canvas: Canvas, lush: float, rng: np.random.Generator) -> None:
    """Bare soil with stones and stains, grown over with grass where it is moist."""
    shape = (canvas.height, canvas.width)
    soil = np.array((0.46, 0.37, 0.27), np.float32) * np.float32(rng.uniform(0.85, 1.15))
    tone = 1 + 0.10 * fractal_noise(rng, shape, 220, 5) + 0.05 * value_noise(rng, shape, 1)
    whole = (slice(None), slice(None))
    canvas.paint(whole, np.ones(shape, np.float32), soil * tone[..., None])
    moist = fractal_noise(rng, shape, 190, 5) + np.float32(2.2 * (lush - 0.5))
    tufts = fractal_noise(rng, shape, 14, 4)
    cover = smoothstep(moist + 0.35 * tufts, 0.0, 0.35)
    canvas.paint(whole, cover, grass_colour(tufts, lush), label=Town.VEGETATION)


def _water(canvas: Canvas, rng: np.random.Generator) -> Field:
    """A river or a lake: fraction of each pixel under water, (H, W) float32; paints its bank."""
    shape = (canvas.height, canvas.width)
    rows = ((np.arange(shape[0], dtype=np.float32) - shape[0] / 2) * PIXEL)[:, None]
    cols = ((np.arange(shape[1], dtype=np.float32) - shape[1] / 2) * PIXEL)[None]
    angle, side = rng.uniform(0, np.pi), rng.uniform(-0.3, 0.3) * min(shape) * PIXEL
    along = (cols * np.cos(angle) + rows * np.sin(angle)).astype(np.float32)
    across = (rows * np.cos(angle) - cols * np.sin(angle) - side).astype(np.float32)
    ragged = 1.6 * fractal_noise(rng, shape, 50, 3)
    if rng.random() < 0.62:
        swing, length, phase = rng.uniform(8, 22), rng.uniform(35, 60), rng.uniform(0, 6)
        bend = swing * np.sin(along / np.float32(length) + np.float32(phase))
        distance = np.abs(across + bend) - np.float32(rng.uniform(7, 13)) + ragged
    else:
        lake = np.hypot(along - np.float32(rng.uniform(-60, 60)), across * np.float32(rng.uniform(1.1, 1.7)))
        distance = lake - np.float32(rng.uniform(22, 38)) + 3 * ragged
    distance = distance.astype(np.float32)
    bank = edge(distance - 3.5) * np.float32(0.8)
    whole = (slice(None), slice(None))
    canvas.paint(whole, bank, (0.42, 0.37, 0.27))
    canvas.labels[distance < 3.0] = Town.BACKGROUND
    canvas.reserved |= distance < 4.0
    return edge(distance)


def _flood(canvas: Canvas, water: Field, rng: np.random.Generator) -> None:
    """Paint the water, darker and greener where it is deep, with ripples."""
    shape = (canvas.height, canvas.width)
    murk = rng.uniform(0, 1)
    deep = (
        np.array((0.05, 0.11, 0.12), np.float32) * (1 - murk)
        + np.array((0.13, 0.16, 0.10), np.float32) * murk
    )
    ripple = 1 + 0.10 * fractal_noise(rng, shape, 120, 3) + 0.06 * value_noise(rng, shape, 3)
    canvas.paint(
        (slice(None), slice(None)), water, deep * ripple[..., None], label=Town.WATER, elevation=0, facing=1
    )
