"""The street net: a bent grid of lines, each with a width and a surface, and the cells between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from services.ingest.town.canvas import PIXEL, Canvas, Town, edge
from services.ingest.town.noise import fractal_noise, value_noise

if TYPE_CHECKING:
    import numpy.typing as npt

    from services.ingest.town.noise import Field

    Near = tuple[Field, Field, npt.NDArray[np.uint8]]

NONE, ASPHALT, DIRT = 0, 1, 2
SIDEWALK = 1.9
"""Width of a pavement, metres."""
BRIDGED = 6.6
"""Roads at least this wide cross water, metres."""


@dataclass(frozen=True, slots=True)
class Bend:
    """Turns pixels into street coordinates: rotated, and bent by one slow wave each way (metres)."""

    centre: tuple[float, float]
    angle: float
    amplitude: tuple[float, float]
    length: tuple[float, float]
    phase: tuple[float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator, height: int, width: int) -> Bend:
        """A random turn and bend around the middle of a canvas."""
        return cls(
            (height / 2, width / 2),
            rng.uniform(-0.6, 0.6),
            (rng.uniform(2, 13), rng.uniform(2, 13)),
            (rng.uniform(220, 340), rng.uniform(220, 340)),
            (rng.uniform(0, 6.3), rng.uniform(0, 6.3)),
        )

    def street(self, rows: Field, cols: Field) -> tuple[Field, Field]:
        """Street coordinates (u, v) in metres of pixel coordinates; shapes broadcast, float32."""
        down, right = (rows - self.centre[0]) * PIXEL, (cols - self.centre[1]) * PIXEL
        cos, sin = float(np.cos(self.angle)), float(np.sin(self.angle))
        u, v = right * cos + down * sin, down * cos - right * sin
        wave_u = self.amplitude[0] * np.sin(v * (2 * np.pi / self.length[0]) + self.phase[0])
        wave_v = self.amplitude[1] * np.sin(u * (2 * np.pi / self.length[1]) + self.phase[1])
        return (u + wave_u).astype(np.float32), (v + wave_v).astype(np.float32)

    def pixel(self, u: float, v: float) -> tuple[float, float]:
        """Pixel (row, col) of street coordinates; the fixed point is found as the bend is gentle."""
        straight_u, straight_v = u, v
        for _ in range(8):
            straight_u, straight_v = (
                u - self.amplitude[0] * np.sin(straight_v * (2 * np.pi / self.length[0]) + self.phase[0]),
                v - self.amplitude[1] * np.sin(straight_u * (2 * np.pi / self.length[1]) + self.phase[1]),
            )
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        right, down = straight_u * cos - straight_v * sin, straight_u * sin + straight_v * cos
        return float(self.centre[0] + down / PIXEL), float(self.centre[1] + right / PIXEL)

    def direction(self, u: float, v: float) -> float:
        """Direction of growing u at a point, radians from the column axis towards the row axis."""
        row_a, col_a = self.pixel(u - 2, v)
        row_b, col_b = self.pixel(u + 2, v)
        return float(np.arctan2(row_b - row_a, col_b - col_a))


@dataclass(frozen=True, slots=True)
class StreetNet:
    """Lines at constant u and at constant v, with the surface of each piece between two crossings.

    us, vs: sorted positions, metres. wide_u, wide_v: widths, metres. pieces_u[i, j]: surface of line u_i
    between v_j and v_j+1; pieces_v[j, i] alike.
    """

    bend: Bend
    us: Field
    vs: Field
    wide_u: Field
    wide_v: Field
    pieces_u: npt.NDArray[np.uint8]
    pieces_v: npt.NDArray[np.uint8]

    @classmethod
    def draw(cls, rng: np.random.Generator, height: int, width: int) -> StreetNet:
        """A random net that covers a canvas."""
        reach = 0.5 * float(np.hypot(height, width)) * PIXEL + 90
        us, vs = _positions(rng, reach), _positions(rng, reach)
        wide_u, wide_v = (rng.uniform(5.5, 8.5, len(line)).astype(np.float32) for line in (us, vs))
        wide_u[len(us) // 2 - int(rng.integers(0, 2))] = rng.uniform(11, 14)
        if rng.random() < 0.5:
            wide_v[len(vs) // 2 - int(rng.integers(0, 2))] = rng.uniform(10, 13)
        pieces = []
        for wide, crossings in ((wide_u, len(vs)), (wide_v, len(us))):
            luck = rng.random((len(wide), crossings))
            kind = np.where(luck < 0.14, NONE, np.where(luck < 0.25, DIRT, ASPHALT)).astype(np.uint8)
            kind[wide > 9.5] = ASPHALT
            pieces.append(kind)
        return cls(Bend.draw(rng, height, width), us, vs, wide_u, wide_v, pieces[0], pieces[1])


def _positions(rng: np.random.Generator, reach: float) -> Field:
    gaps = rng.uniform(46, 92, int(2 * reach / 46) + 2)
    line = -reach - rng.uniform(0, 40) + np.cumsum(gaps)
    return line[line < reach + 60].astype(np.float32)


def pave(canvas: Canvas, net: StreetNet, water: Field, rng: np.random.Generator) -> None:
    """Paint pavements, dirt tracks, asphalt and markings; only wide roads cross `water` (H, W, fractions)."""
    shape = (canvas.height, canvas.width)
    rows = (np.arange(shape[0], dtype=np.float32) + 0.5)[:, None]
    cols = (np.arange(shape[1], dtype=np.float32) + 0.5)[None]
    u, v = net.bend.street(rows, cols)
    whole = (slice(None), slice(None))
    stains = fractal_noise(rng, shape, 60, 3)
    grit = value_noise(rng, shape, 1)
    lines = (
        _nearest((u, v), (net.us, net.vs), net.wide_u, net.pieces_u),
        _nearest((v, u), (net.vs, net.us), net.wide_v, net.pieces_v),
    )
    dry = 1 - water
    concrete = (
        np.float32(0.47)
        * (1 + 0.05 * grit + 0.05 * stains)[..., None]
        * np.array((1, 0.98, 0.95), np.float32)
    )
    for offset, half, kind in lines:
        paved = edge(np.abs(offset) - half - SIDEWALK) * (kind == ASPHALT)
        cover = paved * np.where(half > BRIDGED / 2, 1, dry)
        canvas.paint(whole, cover, concrete, label=Town.BACKGROUND)
    ragged = np.float32(0.8) * fractal_noise(rng, shape, 18, 2)
    earth = np.array((0.46, 0.37, 0.26), np.float32) * (1 + 0.08 * stains + 0.07 * grit)[..., None]
    for offset, half, kind in lines:
        ruts = 1 - 0.16 * (np.abs(np.abs(offset) - 0.9) < 0.35)
        cover = edge(np.abs(offset) - 0.62 * half + ragged) * (kind == DIRT) * dry
        canvas.paint(whole, cover, earth * ruts[..., None], label=Town.ROAD)
    tone = rng.uniform(0.17, 0.27)
    for number, (offset, half, kind) in enumerate(lines):
        worn = 0.07 * np.cos(offset * np.float32(2 * np.pi / 1.9)) + 0.10 * stains + 0.06 * grit
        asphalt = np.float32(tone * (1 + 0.12 * number)) * (1 + worn)
        cover = edge(np.abs(offset) - half) * (kind == ASPHALT) * np.where(half > BRIDGED / 2, 1, dry)
        colour = asphalt[..., None] * np.array((1.0, 1.0, 1.03), np.float32)
        canvas.paint(whole, cover, colour, label=Town.ROAD)
    _markings(canvas, lines, (v, u), net, stains)


def _nearest(
    at: tuple[Field, Field], lines: tuple[Field, Field], wide: Field, pieces: npt.NDArray[np.uint8]
) -> Near:
    """Per pixel: signed offset from the nearest of lines[0], its half width, and the surface of its piece.

    `at` are the coordinates (H, W) across and along those lines, metres; lines[1] are those that cross them.
    """
    index = np.searchsorted((lines[0][1:] + lines[0][:-1]) / 2, at[0])
    piece = np.clip(np.searchsorted(lines[1], at[1]) - 1, 0, pieces.shape[1] - 1)
    return at[0] - lines[0][index], wide[index] / np.float32(2), pieces[index, piece]


def _markings(
    canvas: Canvas,
    near: tuple[Near, Near],
    along: tuple[Field, Field],
    net: StreetNet,
    stains: Field,
) -> None:
    """Dashed middle lines, edge lines and zebra crossings, worn off in places."""
    whole = (slice(None), slice(None))
    paint = np.clip(0.75 + 0.25 * stains, 0.15, 0.95)
    crossings = ((net.vs, net.wide_v), (net.us, net.wide_u))
    for (offset, half, kind), run, (lines, widths) in zip(near, along, crossings, strict=True):
        index = np.searchsorted((lines[1:] + lines[:-1]) / 2, run)
        to_crossing = np.abs(run - lines[index]) - widths[index] / 2
        open_road = (kind == ASPHALT) & (to_crossing > 4.5) & (canvas.labels == Town.ROAD)
        dashes = edge(np.abs(offset) - np.float32(0.11)) * (np.mod(run, 7) < 3.2) * (half > 3.3)
        sides = edge(np.abs(np.abs(offset) - half + np.float32(0.4)) - np.float32(0.09)) * (half > 4.7)
        canvas.paint(whole, np.maximum(dashes, sides) * open_road * paint, (0.78, 0.78, 0.75))
        zebra = (to_crossing > 1.0) & (to_crossing < 3.6) & (np.mod(offset, 1.25) < 0.62)
        zebra &= (kind == ASPHALT) & (half > 4.0) & (np.abs(offset) < half - 0.4)
        canvas.paint(whole, zebra * paint * 0.9, (0.75, 0.75, 0.73))
