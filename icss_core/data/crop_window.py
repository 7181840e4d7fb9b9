"""Where a random crop is cut from a scene, before it is resized to the size that a network trains on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from icss_core.raster.windows import Window

if TYPE_CHECKING:
    Range = tuple[float, float]

_ASPECT: Final = (3 / 4, 4 / 3)
"""Width over height of windows that are fractions of an image's area."""
_ATTEMPTS: Final = 10
_MOST_SIDES: Final = 4
"""Fractions are of a part of the scene that is at most this many crops long on each side, so that half of a
scene of 20 000 pixels is not read for one crop."""


def check_resizing(*, scale: Range | None, area: Range | None) -> None:
    """Check the ranges that say how crops are cut.

    Raises:
        ValueError: a range is not a smaller and then a larger number above 0, or both ranges are given.
    """
    for name, given in (("scale", scale), ("area", area)):
        if given is not None and not 0 < given[0] <= given[1]:
            raise ValueError(f"{name} goes from a smaller to a larger number above 0, not {given}")
    if scale is not None and area is not None:
        raise ValueError(
            f"crops are cut by scale or by area, not both: scale is {scale}, area {area}; set one to null"
        )


def scaled_window(
    rng: np.random.Generator, height: int, width: int, *, size: int, scale: Range | None
) -> Window:
    """A random square window, for scenes that are resized by a factor drawn log-uniformly from a range.

    Args:
        rng: what is drawn from.
        height: of the scene; the window may reach beyond it where the scene is smaller.
        width: likewise.
        size: of the crop after resizing, in pixels.
        scale: smallest and largest factor; None: 1, without a draw.
    """
    factor = 1.0 if scale is None else float(np.exp(rng.uniform(*np.log(scale))))
    side = max(round(size / factor), 1)
    return _placed(rng, height, width, side, side)


def area_window(rng: np.random.Generator, height: int, width: int, *, size: int, area: Range) -> Window:
    """A random window that covers a fraction of the scene's area, as in the training of Inception and MiB.

    Fraction and aspect ratio (3:4 to 4:3) are drawn up to ten times until a rectangle fits into the scene;
    then the middle of the scene is taken. If a scene is longer than four crops along a side, the fraction is
    of a part of that size. Same as torchvision's `RandomResizedCrop.get_params`, which is not used because it
    draws from torch's global generator, and a batch must depend on the generator of its iteration only.

    Args:
        rng: what is drawn from.
        height: of the scene.
        width: likewise.
        size: of the crop after resizing, in pixels.
        area: smallest and largest fraction; a fraction above 1 never fits.
    """
    high, wide = min(height, _MOST_SIDES * size), min(width, _MOST_SIDES * size)
    for _ in range(_ATTEMPTS):
        pixels = high * wide * rng.uniform(*area)
        aspect = float(np.exp(rng.uniform(*np.log(_ASPECT))))
        rows, cols = round(float(np.sqrt(pixels / aspect))), round(float(np.sqrt(pixels * aspect)))
        if 0 < rows <= high and 0 < cols <= wide:
            return _placed(rng, height, width, rows, cols)
    rows, cols = high, wide
    if wide / high < _ASPECT[0]:
        rows = round(wide / _ASPECT[0])
    elif wide / high > _ASPECT[1]:
        cols = round(high * _ASPECT[1])
    return Window((height - rows) // 2, (width - cols) // 2, rows, cols)


def _placed(rng: np.random.Generator, height: int, width: int, rows: int, cols: int) -> Window:
    """A window somewhere inside a scene, or from its first pixel where it is larger."""
    row = int(rng.integers(max(height - rows, 0) + 1))
    col = int(rng.integers(max(width - cols, 0) + 1))
    return Window(row, col, rows, cols)
