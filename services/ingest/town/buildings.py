"""Buildings: footprints, roofs and what stands on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from services.ingest.town.canvas import PIXEL, Town, box
from services.ingest.town.noise import value_noise

if TYPE_CHECKING:
    from services.ingest.town.canvas import Patch
    from services.ingest.town.noise import Field
    from services.ingest.town.site import Site

TILED = ((0.50, 0.24, 0.15), (0.44, 0.21, 0.15), (0.55, 0.31, 0.20), (0.36, 0.22, 0.17), (0.47, 0.33, 0.25))
SLATE = ((0.25, 0.26, 0.28), (0.32, 0.32, 0.33), (0.20, 0.21, 0.24), (0.29, 0.25, 0.23))
FLAT = ((0.62, 0.61, 0.59), (0.48, 0.47, 0.45), (0.72, 0.71, 0.70), (0.40, 0.38, 0.36), (0.57, 0.52, 0.45))
METAL = ((0.36, 0.46, 0.52), (0.60, 0.62, 0.62), (0.33, 0.44, 0.38), (0.52, 0.27, 0.22))


@dataclass(frozen=True, slots=True)
class Footprint:
    """A rectangle on the ground: centre in pixels, direction in radians, half sizes in metres."""

    row: float
    col: float
    angle: float
    half_length: float
    half_width: float


def pitched_house(site: Site, spot: Footprint, palette: str) -> None:
    """A house with a gable or hip roof, sometimes with a wing across it."""
    canvas, rng = site.canvas, site.rng
    colours = {"tiled": TILED, "slate": SLATE}[palette]
    colour = np.array(colours[rng.integers(len(colours))], dtype=np.float32) * rng.uniform(0.85, 1.15)
    eaves, pitch, hip = rng.uniform(3.0, 6.5), rng.uniform(0.45, 0.85), bool(rng.random() < 0.45)
    _pitched_part(site, spot, colour, (eaves, pitch, hip))
    if rng.random() < 0.35 and spot.half_length > 4.5:
        side = rng.choice((-1.0, 1.0))
        shift = rng.uniform(-0.4, 0.4) * spot.half_length
        row, col = _moved(spot, shift, side * spot.half_width * 0.8)
        wing = Footprint(row, col, spot.angle + np.pi / 2, spot.half_width * 1.0, spot.half_length * 0.4)
        _pitched_part(site, wing, colour, (eaves * 0.95, pitch, False))
    if rng.random() < 0.5:
        along, across = rng.uniform(-0.5, 0.5) * spot.half_length, rng.uniform(-0.3, 0.3) * spot.half_width
        row, col = _moved(spot, along, across)
        patch = canvas.patch(row, col, spot.angle, 1.0)
        if patch is not None:
            top = canvas.elevation[patch.place].max() + 0.9
            canvas.paint(patch.place, box(patch, 0.45, 0.35), (0.33, 0.25, 0.22), elevation=top, facing=1.0)


def flat_building(site: Site, spot: Footprint, *, tall: bool = False) -> None:
    """A flat or metal roof with a parapet, air-conditioning boxes and sometimes solar panels."""
    canvas, rng = site.canvas, site.rng
    patch = canvas.patch(spot.row, spot.col, spot.angle, float(np.hypot(spot.half_length, spot.half_width)))
    if patch is None:
        return
    metal = rng.random() < 0.3
    colours = METAL if metal else FLAT
    colour = np.array(colours[rng.integers(len(colours))], dtype=np.float32) * rng.uniform(0.85, 1.12)
    height = rng.uniform(9, 16) if tall else rng.uniform(3.5, 8)
    texture = 0.04 * _speckle(patch, rng, 1) + 0.05 * _speckle(patch, rng, 14)
    if metal:
        texture = texture + np.float32(0.05) * np.sign(np.sin(patch.along * np.float32(2 * np.pi / 1.2)))
    solid = box(patch, spot.half_length, spot.half_width)
    canvas.paint(
        patch.place,
        solid,
        colour * (1 + texture)[..., None],
        label=Town.BUILDING,
        elevation=height,
        facing=1.0,
    )
    if not metal:
        inner = box(patch, spot.half_length - 0.5, spot.half_width - 0.5)
        canvas.paint(
            patch.place, np.clip(solid - inner, 0, 1), colour * 1.25, elevation=height + 0.7, facing=1.0
        )
    _roof_boxes(site, spot, height)


def _pitched_part(site: Site, spot: Footprint, colour: Field, shape: tuple[float, float, bool]) -> None:
    """One pitched roof; `shape` is the height of the eaves (m), the slope (m a m) and whether it is a hip."""
    canvas, rng = site.canvas, site.rng
    eaves, pitch, hip = shape
    patch = canvas.patch(spot.row, spot.col, spot.angle, float(np.hypot(spot.half_length, spot.half_width)))
    if patch is None:
        return
    inwards = spot.half_width - np.abs(patch.across)
    from_end = spot.half_length - np.abs(patch.along)
    on_end = (from_end < inwards) & hip
    rise = np.where(on_end, from_end, inwards)
    slope_along = np.where(on_end, np.sign(patch.along), 0) * np.float32(pitch)
    slope_across = np.where(on_end, 0, np.sign(patch.across)) * np.float32(pitch)
    cos, sin = np.float32(np.cos(spot.angle)), np.float32(np.sin(spot.angle))
    facing = site.sun.on_slope(slope_along * sin + slope_across * cos, slope_along * cos - slope_across * sin)
    courses = np.sin(rise * np.float32(2 * np.pi / 0.9))
    texture = 0.05 * courses + 0.05 * _speckle(patch, rng, 1) + 0.06 * _speckle(patch, rng, 9)
    ridge = np.where(np.abs(rise - rise.max()) < 0.25, np.float32(0.12), np.float32(0))
    cover = box(patch, spot.half_length, spot.half_width)
    elevation = np.float32(eaves) + np.clip(rise, 0, None) * np.float32(pitch)
    # A wing must not cut into a higher part of the roof it joins.
    cover = np.where(elevation >= canvas.elevation[patch.place] - 0.05, cover, 0).astype(np.float32)
    canvas.paint(
        patch.place,
        cover,
        colour * (1 + texture + ridge)[..., None],
        label=Town.BUILDING,
        elevation=elevation,
        facing=facing,
    )


def _roof_boxes(site: Site, spot: Footprint, height: float) -> None:
    canvas, rng = site.canvas, site.rng
    for _ in range(int(rng.integers(0, 2 + int(spot.half_length * spot.half_width / 25)))):
        along = rng.uniform(-0.75, 0.75) * spot.half_length
        across = rng.uniform(-0.7, 0.7) * spot.half_width
        patch = canvas.patch(*_moved(spot, along, across), spot.angle, 2.5)
        if patch is not None:
            tone = rng.uniform(0.45, 0.8)
            cover = box(patch, rng.uniform(0.5, 1.6), rng.uniform(0.5, 1.2))
            on_roof = cover * (canvas.labels[patch.place] == Town.BUILDING)
            canvas.paint(patch.place, on_roof, (tone, tone, tone), elevation=height + rng.uniform(0.8, 2.0))
    if rng.random() < 0.25:
        reach = float(np.hypot(spot.half_length, spot.half_width))
        patch = canvas.patch(spot.row, spot.col, spot.angle, reach)
        if patch is not None:
            panels = box(patch, spot.half_length * 0.6, spot.half_width * 0.55)
            gaps = (np.abs(np.sin(patch.across * np.float32(np.pi / 2.2))) > 0.25).astype(np.float32)
            on_roof = panels * gaps * (canvas.labels[patch.place] == Town.BUILDING)
            canvas.paint(patch.place, on_roof, (0.07, 0.09, 0.17), elevation=height + 0.4)


def _moved(spot: Footprint, along: float, across: float) -> tuple[float, float]:
    """Row and column of a point given in metres of a footprint's frame."""
    cos, sin = np.cos(spot.angle), np.sin(spot.angle)
    return spot.row + (along * sin + across * cos) / PIXEL, spot.col + (along * cos - across * sin) / PIXEL


def _speckle(patch: Patch, rng: np.random.Generator, cell: float) -> Field:
    return value_noise(rng, patch.along.shape, cell)
