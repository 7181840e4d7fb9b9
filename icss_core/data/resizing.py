"""Crops and their labels at another resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray


def resize_pixels(pixels: NDArray[Any], size: int) -> NDArray[Any]:
    """Bilinear, with an average where it shrinks, in the same dtype (integers are rounded).

    Args:
        pixels: (C, h, w), any real dtype.
        size: new height and width.
    """
    if pixels.shape[1:] == (size, size):
        return pixels
    wide = torch.from_numpy(pixels.astype(np.float32))[None]
    resized = functional.interpolate(wide, (size, size), mode="bilinear", align_corners=False, antialias=True)
    values = resized[0].numpy()
    if np.issubdtype(pixels.dtype, np.integer):
        limits = np.iinfo(pixels.dtype)
        values = np.rint(values, out=values)
        if limits.bits > 16:  # a mean of smaller ones, rounded, is one of them; float32 may round these up
            values = values.clip(limits.min, limits.max)
    return values.astype(pixels.dtype)


def resize_skipping_nan(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """As `resize_pixels`, with NaN for missing values, which are left out of all averages.

    Args:
        values: (h, w) float32, NaN where missing.
        size: new height and width.

    Returns:
        (size, size) float32, NaN where more than half of the values that a pixel averages are missing.
    """
    if values.shape == (size, size):
        return values
    given = ~np.isnan(values)
    weighted, weight = resize_pixels(np.stack([np.where(given, values, 0), given]).astype(np.float32), size)
    # one half, with room for rounding errors
    enough = weight > 0.5 - 1e-4
    return np.where(enough, weighted / np.where(enough, weight, 1), np.nan).astype(np.float32)


def resize_labels(labels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The label at the centre of each new pixel; labels are never interpolated.

    Args:
        labels: (h, w) uint8.
        size: new height and width.
    """
    rows, cols = (((np.arange(size) + 0.5) * length / size).astype(np.intp) for length in labels.shape)
    taken: NDArray[np.uint8] = labels.take(rows, axis=0).take(cols, axis=1)
    return taken
