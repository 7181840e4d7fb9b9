"""A GeoTIFF of any size to measure prediction on, written by blocks in little memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import rasterio
from rasterio.windows import Window

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 512


def write_made_scene(path: Path, height: int, width: int, *, bands: int = 3) -> None:
    """Smooth shapes with noise, uint8, tiled, deflate: decodes at about the cost of aerial imagery."""
    rng = np.random.default_rng(0)
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=bands, dtype="uint8", tiled=True,
        blockxsize=BLOCK, blockysize=BLOCK, compress="deflate", photometric="minisblack", crs="EPSG:32632",
        transform=rasterio.Affine(0.3, 0, 500_000, 0, -0.3, 5_300_000),
    ) as out:  # fmt: skip
        for row in range(0, height, BLOCK):
            for col in range(0, width, BLOCK):
                rows = np.arange(row, min(row + BLOCK, height))[:, None]
                cols = np.arange(col, min(col + BLOCK, width))
                shapes = [
                    128 + 90 * np.sin(rows / (40 + 11 * band)) * np.cos(cols / (30 + 7 * band))
                    for band in range(bands)
                ]
                noisy = np.stack(shapes) + rng.normal(0, 8, (bands, len(rows), len(cols)))
                pixels = np.clip(noisy, 1, 255).astype(np.uint8)
                out.write(pixels, window=Window(col, row, len(cols), len(rows)))
