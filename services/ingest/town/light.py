"""Sun, shadows, air and sensor: from albedo and elevation to the bytes of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from services.ingest.town.canvas import PIXEL, Canvas
from services.ingest.town.noise import value_noise

if TYPE_CHECKING:
    import numpy.typing as npt

    from services.ingest.town.noise import Field


@dataclass(frozen=True, slots=True)
class Sun:
    """Where the sun stands: azimuth clockwise from north and height over the horizon, radians."""

    azimuth: float
    height: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Sun:
        """A sun between south-east and south-west, 34 to 58 degrees high."""
        return cls(np.radians(rng.uniform(125, 235)), np.radians(rng.uniform(34, 58)))

    @property
    def away(self) -> tuple[float, float]:
        """Unit step (rows, cols) in which shadows fall; rows point south."""
        return float(np.cos(self.azimuth)), float(-np.sin(self.azimuth))

    def on_slope(self, down_row: Field | float, down_col: Field | float) -> Field:
        """Light on a slope over the light on flat ground.

        Args:
            down_row: Fall of the surface towards greater rows, metres a metre.
            down_col: Fall of the surface towards greater columns, metres a metre.

        Returns:
            float32 >= 0 of the same shape: cosine of incidence, relative to flat ground.
        """
        rows, cols = self.away
        tangent = np.float32(1 / np.tan(self.height))
        down_row, down_col = np.asarray(down_row, np.float32), np.asarray(down_col, np.float32)
        towards = -(down_row * np.float32(rows) + down_col * np.float32(cols))
        return np.asarray(np.maximum(1 + tangent * towards, 0) / np.sqrt(1 + down_row**2 + down_col**2))


def cast_shadows(elevation: Field, sun: Sun) -> Field:
    """How much of the sun something else takes, per pixel.

    Walks from every pixel towards the sun and compares the ray with the surface; exact up to the rounding of
    the steps to whole pixels.

    Returns:
        (H, W) float32 in [0, 1]; edges are softened over about a pixel.
    """
    height, width = elevation.shape
    shade = np.zeros((height, width), dtype=bool)
    rise = np.float32(np.tan(sun.height) * PIXEL)
    steps = int(float(elevation.max()) / float(rise)) + 1
    for step in range(1, steps + 1):
        rows, cols = (round(step * part) for part in sun.away)
        here = (slice(max(rows, 0), height + min(rows, 0)), slice(max(cols, 0), width + min(cols, 0)))
        there = (slice(max(-rows, 0), height - max(rows, 0)), slice(max(-cols, 0), width - max(cols, 0)))
        shade[here] |= elevation[there] > elevation[here] + rise * step
    image = Image.fromarray(shade.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(0.8))
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def expose(canvas: Canvas, sun: Sun, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The picture a camera takes of a finished canvas.

    Every scene has its own light: strength and colour of sun and sky, haze, sharpness and sensor noise.

    Returns:
        (3, H, W) uint8, red green blue.
    """
    shape = canvas.elevation.shape
    direct = canvas.facing * (1 - cast_shadows(canvas.elevation, sun))
    warmth = rng.uniform(-0.05, 0.06)
    sunlight = np.array([1.0 + warmth, 0.97, 0.9 - warmth], dtype=np.float32) * rng.uniform(1.0, 1.25)
    skylight = np.array([0.24, 0.28, 0.35], dtype=np.float32) * rng.uniform(0.8, 1.2)
    cast = rng.uniform(0.95, 1.05, size=3).astype(np.float32)
    haze = np.array([0.045, 0.055, 0.07], dtype=np.float32) * rng.uniform(0.2, 1.0)
    radiance = canvas.albedo * (skylight + direct[..., None] * sunlight) * cast + haze
    radiance = radiance * (1 + 0.03 * value_noise(rng, shape, 500))[..., None]
    tone = np.clip(radiance, 0, None) ** np.float32(1 / rng.uniform(1.55, 1.8))
    tone = tone * np.float32(rng.uniform(222, 238))
    grain = rng.standard_normal(tone.shape, dtype=np.float32) * np.float32(rng.uniform(1.5, 3.5))
    sharp = Image.fromarray(np.clip(tone, 0, 255).astype(np.uint8))
    blurred = np.asarray(sharp.filter(ImageFilter.GaussianBlur(rng.uniform(0.45, 0.75))), dtype=np.float32)
    pixels = np.clip(blurred + grain + 0.5, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
