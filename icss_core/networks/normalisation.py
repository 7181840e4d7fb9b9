"""Per-band statistics that bring pixels of any sensor and dtype to zero mean and unit variance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from icss_core.errors import BandMismatchError, DatasetError
from icss_core.networks.fill_value import FillValue, distance_of_fill, undeclared
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from icss_core.raster.source import Pixels, RasterSource

_Floats: TypeAlias = "NDArray[np.float64]"


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
        FillValueError: a value marks missing data without its scene saying so; it would make the statistics.
    """
    rng = np.random.default_rng(seed)
    sums: _Sums | None = None
    for source in sources:
        sums = sums or _Sums(source.bands)
        if source.bands != sums.bands:
            raise BandMismatchError(f"one scene has {sums.bands} bands, another {source.bands}")
        for _ in range(windows_per_source):
            row = int(rng.integers(0, max(source.height - size, 0) + 1))
            col = int(rng.integers(0, max(source.width - size, 0) + 1))
            window = Window(row, col, size, size)
            sums.add(source.read(window), window, name=str(getattr(source, "address", "a scene")))
    if sums is None or sums.count == 0:
        raise DatasetError("no valid pixel in any scene: nothing to take statistics from")
    sums.check_extremes()
    mean, std = sums.statistics()
    # a constant band holds no information; dividing by 1 keeps it finite
    std = np.where(_varies(mean, std), std, 1.0)
    return Normalisation(mean=tuple(mean.tolist()), std=tuple(std.tolist()))


class _Extreme:
    """A lowest or highest value of windows: how many of their pixels have it, and where it was first."""

    def __init__(self, window: Window, place: int, name: str) -> None:
        self.pixels = 0
        self.row, self.col = window.row + place // window.width, window.col + place % window.width
        self.name = name


class _Sums:
    """Sums of pixel values and of their squares, without the extremes of each window, which have their own.

    An undeclared fill value is an extreme, and would hide behind a mean and a deviation that it made itself.
    """

    def __init__(self, bands: int) -> None:
        self.bands = bands
        self._inner = 0
        self._total, self._squares = np.zeros(bands), np.zeros(bands)
        self._highest = np.full(bands, -np.inf)
        self._extremes: dict[tuple[float, ...], _Extreme] = {}

    @property
    def count(self) -> int:
        """Pixels so far."""
        return self._inner + sum(one.pixels for one in self._extremes.values())

    def add(self, pixels: Pixels, window: Window, *, name: str) -> None:
        """Add the valid pixels of a window."""
        places = np.flatnonzero(pixels.valid)
        if not places.size:
            return
        values = pixels.values.reshape(self.bands, -1)[:, places]
        inner = np.ones(places.size, bool)
        for vector in (values.min(axis=1), values.max(axis=1)):
            same = inner & (values == vector[:, None]).all(axis=0)
            if same.any():
                key = tuple(map(float, vector))
                place = int(places[np.argmax(same)])
                self._extremes.setdefault(key, _Extreme(window, place, name)).pixels += int(same.sum())
                inner &= ~same
        rest = values[:, inner].astype(np.float64)
        self._inner += rest.shape[1]
        self._total = self._total + rest.sum(axis=1)
        self._squares = self._squares + np.square(rest).sum(axis=1)
        self._highest = np.maximum(self._highest, rest.max(axis=1, initial=-np.inf))

    def statistics(self, without: tuple[float, ...] | None = None) -> tuple[_Floats, _Floats]:
        """Mean and standard deviation (C,) of all pixels, or of all but those of one extreme."""
        count, total, squares = self._inner, self._total, self._squares
        for vector, extreme in self._extremes.items():
            if vector != without:
                count += extreme.pixels
                total = total + extreme.pixels * np.array(vector)
                squares = squares + extreme.pixels * np.square(vector)
        mean = total / max(count, 1)
        return mean, np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0.0))

    def check_extremes(self) -> None:
        """Refuse an extreme that lies too far from all other pixels to have been measured.

        Raises:
            FillValueError: there is one.
        """
        for vector, extreme in self._extremes.items():
            mean, std = self.statistics(without=vector)
            if not _varies(mean, std).all():
                continue
            other = [np.array(one) for one in self._extremes if one != vector]
            below = np.max([self._highest, *other], axis=0)
            distance = distance_of_fill(
                vector, extreme.pixels, mean=mean.tolist(), std=std.tolist(), below=below.tolist()
            )
            if distance is not None:
                fill = FillValue(
                    values=vector, row=extreme.row, col=extreme.col, pixels=extreme.pixels, distance=distance
                )
                raise undeclared(fill, name=extreme.name, learnt="the other pixels of the scenes")


def _varies(mean: _Floats, std: _Floats) -> NDArray[np.bool_]:
    """(C,) whether a band is more than constant."""
    varies: NDArray[np.bool_] = std > 1e-6 * np.maximum(np.abs(mean), 1e-6)
    return varies
