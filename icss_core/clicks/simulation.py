"""Clicks drawn from ground truth, as ICSS simulates an annotator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icss_core.clicks.click_set import ClickSet
from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def simulate_clicks(
    mask: NDArray[np.uint8], *, classes: Sequence[int], per_class: int, seed: int
) -> ClickSet:
    """Pixels of each class, uniform and without replacement.

    As in ICSS: no spatial spread, no margin from borders, no preference for errors. Deviation: where a
    class has fewer pixels than asked, all of them are taken, and a class that is absent gives none; the
    published code raises.

    Memory is that of the mask plus one number per row, so scenes of some 10^9 pixels are fine.

    Args:
        mask: (H, W) uint8, ground truth as label-space indices, 255 where there is none.
        classes: labels to draw, in this order; the draw of one depends on those before it.
        per_class: clicks of each class, not negative.
        seed: the same mask, classes, number and seed give the same clicks.

    Returns:
        ClickSet of at most len(classes) * per_class clicks, class by class.

    Raises:
        InvalidParameterError: the mask is not (H, W) uint8, a class is not in 0..254 or is named twice, or
            `per_class` is negative.
    """
    _validate_args(mask, classes, per_class)
    generator = np.random.default_rng(seed)
    drawn = [_draw(mask, label, per_class, generator) for label in classes]
    clicks = ClickSet.empty()
    for rows, cols, label in zip(*zip(*drawn, strict=True), classes, strict=True) if drawn else ():
        clicks = clicks.merged(ClickSet(rows, cols, np.full(len(rows), label, np.int64)))
    return clicks


def _draw(
    mask: NDArray[np.uint8], label: int, amount: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of up to `amount` pixels of one class, in random order.

    Ranks among the class's pixels are drawn first and located row by row, so that no list of all
    candidates is made.
    """
    per_row = np.fromiter((np.count_nonzero(line == label) for line in mask), np.int64, count=len(mask))
    ends = np.cumsum(per_row)
    total = int(ends[-1]) if len(ends) else 0
    ranks = (
        generator.choice(total, size=min(amount, total), replace=False) if total else np.empty(0, np.int64)
    )
    rows = np.searchsorted(ends, ranks, side="right")
    cols = np.empty_like(rows)
    for row in np.unique(rows):
        here = rows == row
        cols[here] = np.flatnonzero(mask[row] == label)[ranks[here] - (ends[row] - per_row[row])]
    return rows, cols


def _validate_args(mask: NDArray[np.uint8], classes: Sequence[int], per_class: int) -> None:
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise InvalidParameterError(f"the mask must be (H, W) uint8, not {mask.dtype} of shape {mask.shape}")
    wrong = [label for label in classes if not 0 <= label < IGNORE]
    if wrong or len(set(classes)) != len(classes):
        raise InvalidParameterError(
            f"classes must be different indices from 0 to {IGNORE - 1}, not {list(classes)}"
        )
    if per_class < 0:
        raise InvalidParameterError(f"per_class must not be negative: {per_class}")
