"""Pseudo-labels: pixels that the memory network confidently gives to old classes, chosen row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np

from icss_core.clicks.click_set import ClickSet
from icss_core.errors import InvalidParameterError
from icss_core.labels import BACKGROUND, IGNORE
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

PseudoLabelKind = Literal["top_n", "threshold", "weighted"]
"""Which pixels of a class are taken.

`top_n`: the most confident ones (the ICSS paper: "a maximum of N of the most confident old-classes pixels").
`threshold`: a uniform sample without replacement of those above a confidence (the published ICSS code: 0.99,
and ten times as many as clicks).
`weighted`: a sample without replacement in which a pixel's chance grows with the square of its odds
p / (1 - p), p being its confidence (ours). A network that is unsure everywhere, as on land unlike that of its
training, still has pixels that it is less unsure of; a fixed threshold would take none, and the class would
be unlearnt.
"""

PSEUDO_LABEL_KINDS: Final[tuple[PseudoLabelKind, ...]] = get_args(PseudoLabelKind)


@dataclass(frozen=True, slots=True)
class _Kept:
    """The best pixels of one class so far: confidence, random key and (row, col), one entry each."""

    confidence: NDArray[np.float32]
    keys: NDArray[np.uint64]
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.keys)

    def joined(self, other: _Kept) -> _Kept:
        return _Kept(
            np.concatenate([self.confidence, other.confidence]),
            np.concatenate([self.keys, other.keys]),
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.cols, other.cols]),
        )

    def at(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> _Kept:
        return _Kept(self.confidence[which], self.keys[which], self.rows[which], self.cols[which])


class PseudoLabelSelector:
    """A row sink that picks pseudo-labels from the memory network's map, whatever the size of the raster.

    Rows of the map go in top to bottom, clicks come out. Not more pixels of a class are held than its limit,
    beside the rows being written. Equal confidences (softmax reaches exactly 1.0 on thousands of pixels)
    are decided by a pseudo-random key of pixel and seed, so that the choice spreads over the raster,
    depends on nothing but the map and the seed, and is the same however the rows are cut.

    Deviations from the published code, which raises where a class has no candidate: fewer candidates than
    asked for are all taken. As there, background pixels never become pseudo-labels, nor do clicked pixels.

    Args:
        limits: how many pixels to take at most, by old class of interest: label-space indices from 1 to 254.
        kind: see `PseudoLabelKind`.
        threshold: confidence in [0, 1] that a pixel must exceed; None: 0.99 for `threshold`, none for the
            others.
        clicks: clicked pixels, which are left out.
        seed: of the pseudo-random keys.

    Raises:
        InvalidParameterError: an argument is out of its range; the background is among the classes.
    """

    def __init__(
        self,
        *,
        limits: Mapping[int, int],
        kind: PseudoLabelKind,
        threshold: float | None = None,
        clicks: ClickSet | None = None,
        seed: int = 0,
    ) -> None:
        _validate_args(limits, kind, threshold)
        self._limits = dict(limits)
        self._kind = kind
        self._threshold = 0.99 if threshold is None and kind == "threshold" else threshold
        self._clicks = ClickSet.empty() if clicks is None else clicks
        self._salt = _mixed(np.array([seed % 2**64], np.uint64))[0]
        nothing = np.empty(0, np.int64)
        empty = _Kept(nothing.astype(np.float32), nothing.astype(np.uint64), nothing, nothing)
        self._kept = dict.fromkeys(limits, empty)

    def write(self, row: int, labels: NDArray[np.uint8], confidence: NDArray[np.float32] | None) -> None:
        """Look at rows of the map.

        Args:
            row: number of the first of these rows.
            labels: (h, W) uint8, the memory network's classes, 255 where there is no data.
            confidence: (h, W) float32 in [0, 1], its probability of that class; NaN is never taken.

        Raises:
            InvalidParameterError: there is no confidence, or it has another shape than the labels.
        """
        if confidence is None or confidence.shape != labels.shape:
            raise InvalidParameterError(
                "pseudo-labels need the confidence of every pixel; predict with confidence=True"
            )
        height, width = labels.shape
        free = self._clicks.label_map(Window(row, 0, height, width)) == IGNORE
        if self._threshold is not None:
            free &= confidence > self._threshold
        for label, limit in self._limits.items():
            if not limit:
                continue
            kept, usable = self._kept[label], free & (labels == label)
            if self._kind == "top_n" and len(kept) == limit:
                usable &= confidence >= kept.confidence.min()  # less confident pixels cannot enter any more
            rows, cols = np.nonzero(usable)
            if len(rows):
                candidates = self._candidates(confidence[rows, cols], rows + row, cols)
                self._kept[label] = _best(kept.joined(candidates), limit)

    def clicks(self) -> ClickSet:
        """The pseudo-labels: class by class in the order of `limits`, row by row within a class."""
        rows, cols, labels = [], [], []
        for label, kept in self._kept.items():
            order = np.lexsort((kept.cols, kept.rows))
            rows.append(kept.rows[order])
            cols.append(kept.cols[order])
            labels.append(np.full(len(kept), label, np.int64))
        if not rows:
            return ClickSet.empty()
        return ClickSet(np.concatenate(rows), np.concatenate(cols), np.concatenate(labels))

    def _candidates(
        self, confidence: NDArray[np.float32], rows: NDArray[np.int64], cols: NDArray[np.int64]
    ) -> _Kept:
        pixel = rows.astype(np.uint64) << np.uint64(32) | cols.astype(np.uint64)
        keys = _mixed(pixel ^ self._salt)
        rank = np.zeros(len(rows), np.float32)
        if self._kind == "top_n":
            rank = confidence.astype(np.float32)
        elif self._kind == "weighted":
            rank = _weighted_ranks(keys, confidence)
        return _Kept(rank, keys, rows, cols).at(~np.isnan(confidence))


def _best(entries: _Kept, limit: int) -> _Kept:
    """The `limit` entries of highest confidence; among equals, those of the smallest keys."""
    excess = len(entries) - limit
    if excess <= 0:
        return entries
    cut = np.partition(entries.confidence, excess)[excess]
    above = entries.at(entries.confidence > cut)
    equal = entries.at(entries.confidence == cut)
    wanted = limit - len(above)  # at least one: the entry at the cut itself
    return above.joined(equal.at(np.argpartition(equal.keys, wanted - 1)[:wanted]))


def _weighted_ranks(keys: NDArray[np.uint64], confidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """Numbers of which the highest are a sample without replacement, weighted by the squared odds.

    u^(1 / weight) with u uniform (Efraimidis and Spirakis, "Weighted random sampling with a reservoir",
    Information Processing Letters 97, 2006), as logarithm: u^(1 / weight) is 0 for small weights.
    """
    uniform = (keys.astype(np.float64) + 0.5) / 2.0**64
    # beyond these the sums of the softmax are not exact
    chance = np.clip(confidence.astype(np.float64), 1e-4, 1 - 1e-4)
    ranks: NDArray[np.float32] = (np.log(uniform) * ((1 - chance) / chance) ** 2).astype(np.float32)
    return ranks


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Pseudo-random 64-bit keys, different for different values.

    The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
    2014): one-to-one, so two pixels never get the same key.
    """
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _validate_args(limits: Mapping[int, int], kind: str, threshold: float | None) -> None:
    if kind not in PSEUDO_LABEL_KINDS:
        raise InvalidParameterError(
            f"unknown kind of pseudo-labels {kind!r}; one of {list(PSEUDO_LABEL_KINDS)}"
        )
    if any(not BACKGROUND < label < IGNORE for label in limits):
        raise InvalidParameterError(
            f"pseudo-labels are of classes of interest, indices 1 to {IGNORE - 1}, not {list(limits)}"
        )
    if any(limit < 0 for limit in limits.values()):
        raise InvalidParameterError(f"limits must not be negative: {dict(limits)}")
    if threshold is not None and not 0 <= threshold <= 1:
        raise InvalidParameterError(f"the confidence threshold must be in [0, 1], not {threshold}")
