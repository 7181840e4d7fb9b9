"""Per-band statistics that bring pixels of any sensor and dtype to zero mean and unit variance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from icss_core.errors import BandMismatchError, DatasetError
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from icss_core.raster.reader import RasterSource


class Normalisation(BaseModel):
    """x -> (x - mean) / std per band, in the units of the pixel values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]

    @model_validator(mode="after")
    def _same_bands(self) -> Normalisation:
        if len(self.mean) != len(self.std):
            raise ValueError(f"{len(self.mean)} means but {len(self.std)} standard deviations")
        return self


def identity(bands: int) -> Normalisation:
    """Statistics that change nothing."""
    return Normalisation(mean=(0.0,) * bands, std=(1.0,) * bands)


def estimate_normalisation(
    sources: Iterable[RasterSource], *, windows_per_source: int = 16, size: int = 256, seed: int = 0
) -> Normalisation:
    """Mean and standard deviation of the valid pixels in random windows.

    Args:
        sources: rasters with the same number of bands, of any real dtype.
        windows_per_source: how many windows are read from each.
        size: their side length in pixels.
        seed: of the positions.

    Raises:
        BandMismatchError: the sources differ in their number of bands.
        DatasetError: no valid pixel was found.
    """
    rng = np.random.default_rng(seed)
    count = 0
    total = squares = np.zeros(0)
    for source in sources:
        if total.size == 0:
            total, squares = np.zeros(source.bands), np.zeros(source.bands)
        if source.bands != total.size:
            raise BandMismatchError(f"one scene has {total.size} bands, another {source.bands}")
        for _ in range(windows_per_source):
            row = int(rng.integers(0, max(source.height - size, 0) + 1))
            col = int(rng.integers(0, max(source.width - size, 0) + 1))
            pixels = source.read(Window(row, col, size, size))
            values = pixels.values[:, pixels.valid].astype(np.float64)
            count += values.shape[1]
            total = total + values.sum(axis=1)
            squares = squares + np.square(values).sum(axis=1)
    if count == 0:
        raise DatasetError("no valid pixel in any scene: nothing to take statistics from")
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    # a constant band holds no information; dividing by 1 keeps it finite
    std = np.where(std > 1e-6 * np.maximum(np.abs(mean), 1e-6), std, 1.0)
    return Normalisation(mean=tuple(mean.tolist()), std=tuple(std.tolist()))
