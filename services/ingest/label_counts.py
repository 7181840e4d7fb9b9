"""How many pixels of a mask have each value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_TOGETHER: Final = 2**18
"""Pixels counted at a time: NumPy makes numbers of 8 bytes of them first."""


def label_counts(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """(256,) pixels by value of an array of any shape."""
    flat = values.reshape(-1)
    counts = np.zeros(256, np.int64)
    for start in range(0, flat.size, _TOGETHER):
        counts += np.bincount(flat[start : start + _TOGETHER], minlength=256)
    return counts
