"""A value that marks missing data without the image saying so, noticed by how far it lies from all others.

Files often hold -9999, -32768 or the lowest float where nothing was measured, and do not declare it. To a
network that is a measurement like any other, thousands of standard deviations from what it was trained on:
inside its receptive field, hundreds of pixels wide, every label may change.

Limits, and where they come from: in real imagery (8-bit aerial photographs, 16-bit satellite bands, radar,
heights; 300 images, windows of 512 pixels) no value that 64 or more pixels repeat exactly, such as black
borders and saturated roofs, was further than 7.6 standard deviations in every band from the mean of its own
image or data set, and 8-bit imagery reached 18.6 with the statistics of another sensor. Sensors saturate at
far higher values, for radar at hundreds of deviations; there, values lead up to the highest one, and before a
fill value there is a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from icss_core.errors import FillValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FAR: Final = 30.0
"""Standard deviations, in every band, beyond which a repeated value marks missing data."""
FAR_CUSTOMARY: Final = 10.0
"""Likewise for values that nobody measures by chance: see `CUSTOMARY`."""
ABSURD: Final = 1e6
"""Standard deviations beyond which a single pixel, in a single band, is no measurement."""
REPEATED: Final = 64
"""Pixels that have exactly the same values."""
GAP: Final = 0.5
"""Of the way from the mean to a high value: it is saturation where measurements come nearer than that."""
CUSTOMARY: Final = frozenset({-999.0, -9999.0, -32767.0, -32768.0, -99999.0})
"""Values that are written for missing data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FillValue:
    """A value that marks missing data in a window."""

    values: tuple[float, ...]
    """By band."""
    row: int
    """Of its first pixel, in the window."""
    col: int
    pixels: int
    """Of the window that have it."""
    distance: float
    """Standard deviations from the mean, of the band where it is nearest; where it is absurd, furthest."""


def fill_value_of(
    values: NDArray[np.generic],
    valid: NDArray[np.bool_],
    *,
    mean: Sequence[float],
    std: Sequence[float],
) -> FillValue | None:
    """The undeclared fill value of a window, if it has one: the lowest or highest value of its bands.

    Args:
        values: (C, h, w) of any real type, as a source gives them.
        valid: (h, w); True = data.
        mean: (C,) of the images that the values are compared with, in their units.
        std: (C,) positive, likewise.

    Returns:
        None where every value may be a measurement.
    """
    flat = values.reshape(len(values), -1)
    if flat.size == 0 or _near(flat.min(axis=1), flat.max(axis=1), mean, std):
        return None
    # pixels without data are zeros, which may be far from the mean
    places = np.flatnonzero(valid)
    data = flat[:, places]
    if data.size == 0 or _near(data.min(axis=1), data.max(axis=1), mean, std):
        return None
    for vector in (data.min(axis=1), data.max(axis=1), *_absurd(data, mean, std)):
        same = (data == vector[:, None]).all(axis=0)
        pixels = int(same.sum())
        rest = data[:, ~same]
        below = rest.max(axis=1).tolist() if rest.size else None
        distance = distance_of_fill(vector.tolist(), pixels, mean=mean, std=std, below=below)
        if distance is not None:
            row, col = divmod(int(places[np.argmax(same)]), valid.shape[1])
            return FillValue(
                values=tuple(map(float, vector)), row=row, col=col, pixels=pixels, distance=distance
            )
    return None


def distance_of_fill(
    vector: Sequence[float],
    pixels: int,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    below: Sequence[float] | None = None,
) -> float | None:
    """How far a value lies from the mean, in standard deviations; None where it may be a measurement.

    Args:
        vector: (C,) the value in each band.
        pixels: that have exactly this value.
        mean: (C,) see `fill_value_of`.
        std: (C,) likewise.
        below: (C,) the highest values of the pixels that have another value; None: there are none.
    """
    distances = _distances(np.array(vector, np.float64), mean, std)
    if pixels and distances.max() > ABSURD:
        return float(distances.max())
    if below is not None and all(
        value > middle and high - middle > GAP * (value - middle)
        for value, middle, high in zip(vector, mean, below, strict=True)
    ):
        return None
    limit = FAR_CUSTOMARY if set(map(float, vector)) <= CUSTOMARY else FAR
    nearest = float(distances.min())
    return nearest if pixels >= REPEATED and nearest > limit else None


def undeclared(fill: FillValue, *, name: str, learnt: str) -> FillValueError:
    """The error that names an undeclared fill value, its place, and what to do.

    Args:
        fill: its row and column counted in the image.
        name: of the image.
        learnt: what the statistics are of, in words.
    """
    distinct = sorted(set(fill.values))
    value = ", ".join(map(_number, fill.values if len(distinct) > 1 else distinct))
    declare = f"gdal_edit.py -a_nodata {value} FILE" if len(distinct) == 1 else "as nodata, band by band"
    return FillValueError(
        f"{name}: {fill.pixels} of the pixels read so far, the first at row {fill.row}, column {fill.col}, "
        f"have the value {value}, {fill.distance:.3g} standard deviations from the mean of {learnt}, and the "
        f"image does not declare it as missing data. If it marks missing data, declare it: {declare}. If it "
        f"was measured, the image has other units than {learnt}: convert it"
    )


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _near(
    lowest: NDArray[np.generic], highest: NDArray[np.generic], mean: Sequence[float], std: Sequence[float]
) -> bool:
    """Whether no value between these can mark missing data."""
    furthest = np.maximum(_distances(lowest, mean, std), _distances(highest, mean, std))
    return bool(furthest.min() <= FAR_CUSTOMARY and furthest.max() <= ABSURD)


def _absurd(
    data: NDArray[np.generic], mean: Sequence[float], std: Sequence[float]
) -> list[NDArray[np.generic]]:
    """The first pixel (C,) with an absurd value in some band."""
    furthest = np.maximum(_distances(data.min(axis=1), mean, std), _distances(data.max(axis=1), mean, std))
    band = int(furthest.argmax())
    if furthest[band] <= ABSURD:
        return []
    with np.errstate(over="ignore"):
        away = np.abs(data[band].astype(np.float64) - mean[band]) / std[band] > ABSURD
    return [data[:, int(np.argmax(away))]]


def _distances(
    vector: NDArray[np.generic], mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):  # the lowest float64 is infinitely far, in numbers
        distances: NDArray[np.float64] = np.abs(vector.astype(np.float64) - np.array(mean)) / np.array(std)
    return distances
