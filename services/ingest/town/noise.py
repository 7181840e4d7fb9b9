"""Smooth random fields, from which ground, water and leaves get their texture."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

Field: TypeAlias = npt.NDArray[np.floating[Any]]
"""Values on pixels, float32 unless said otherwise."""


def value_noise(rng: np.random.Generator, shape: tuple[int, ...], cell: float) -> Field:
    """Random values on a coarse grid, interpolated bicubically.

    Args:
        rng: Source of the values.
        shape: Height and width of the result.
        cell: Distance of the grid's points in pixels; 1 gives white noise.

    Returns:
        (H, W) float32, mean about 0, standard deviation about 1 at the grid's points.
    """
    height, width = shape
    rows, cols = max(int(height / cell) + 2, 2), max(int(width / cell) + 2, 2)
    grid = rng.standard_normal((rows, cols), dtype=np.float32)
    if cell <= 1:
        return grid[:height, :width]
    image = Image.fromarray(grid)
    box = (0.0, 0.0, min(width / cell, cols), min(height / cell, rows))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=box), dtype=np.float32)


def fractal_noise(rng: np.random.Generator, shape: tuple[int, ...], cell: float, octaves: int) -> Field:
    """Sum of `octaves` noises, each half as coarse and 0.55 as strong as the one before; unit deviation.

    Returns:
        (H, W) float32.
    """
    total = np.zeros(shape, dtype=np.float32)
    power = 0.0
    for octave in range(octaves):
        weight = 0.55**octave
        total += np.float32(weight) * value_noise(rng, shape, max(cell / 2**octave, 1.0))
        power += weight**2
    return total / np.float32(np.sqrt(power))


def smoothstep(values: Field, low: float, high: float) -> Field:
    """0 below `low`, 1 above `high`, a smooth ramp between; same shape, float32."""
    ramp = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp))
