"""Confusion matrices of class maps and the scores computed from them.

Everywhere a class that the ground truth lacks has score NaN, as in the published ICSS and MiB metrics: its
false positives still count against the classes they cover. Means skip NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

Counts: TypeAlias = NDArray[np.int64]
Scores: TypeAlias = NDArray[np.float64]
LabelArray: TypeAlias = "NDArray[np.integer] | Tensor"

_CHUNK: Final = 2**20
"""Pixels counted at a time, so that the indices of a big raster are never all in memory (8 bytes each)."""


def confusion_matrix(
    prediction: LabelArray, truth: LabelArray, *, n_classes: int, ignore: int = IGNORE
) -> Counts:
    """Pixels of each true class given to each class.

    Args:
        prediction: any shape, integers: class indices, or `ignore` where nothing was predicted (no data).
        truth: the same shape, integers: class indices, or `ignore` where there is no ground truth. Both
            may be numpy arrays or tensors on any device.
        n_classes: N, 1 to 255.
        ignore: pixels with this value on either side are left out.

    Returns:
        (N, N) int64, rows ground truth, columns prediction.

    Raises:
        InvalidParameterError: shapes differ, values are not integers, `n_classes` or `ignore` is out of
            range, or a label is neither a class nor `ignore`.
    """
    if not 1 <= n_classes <= IGNORE:
        raise InvalidParameterError(f"n_classes must be from 1 to {IGNORE}, not {n_classes}")
    if not n_classes <= ignore <= IGNORE:
        raise InvalidParameterError(f"ignore must be from {n_classes} to {IGNORE}, not {ignore}")
    table = joint_counts(truth, prediction)
    for name, totals in (("truth", table.sum(axis=1)), ("prediction", table.sum(axis=0))):
        strange = [value for value in np.flatnonzero(totals) if value >= n_classes and value != ignore]
        if strange:
            raise InvalidParameterError(
                f"{name} holds label {strange[0]} ({totals[strange[0]]} pixels); labels are 0 to "
                f"{n_classes - 1}, and {ignore} for ignored pixels"
            )
    return table[:n_classes, :n_classes].copy()


def joint_counts(first: LabelArray, second: LabelArray) -> Counts:
    """How often each pair of 8-bit labels meets: (256, 256) int64, rows the labels of `first`.

    No masks are made: pairs with 255 are counted like others and left out by the reader of the table. Memory
    beyond the inputs is that of one million pixels.

    Args:
        first: integers 0 to 255, any shape; numpy or tensor.
        second: the same shape.

    Raises:
        InvalidParameterError: shapes differ, or values are not integers from 0 to 255.
    """
    one, two = _bytes(first), _bytes(second)
    if one.shape != two.shape:
        raise InvalidParameterError(f"label maps must have one shape, not {one.shape} and {two.shape}")
    one, two = one.reshape(-1), two.reshape(-1)
    table = np.zeros(2**16, np.int64)
    for start in range(0, one.size, _CHUNK):
        pairs = one[start : start + _CHUNK].astype(np.uint16) << 8 | two[start : start + _CHUNK]
        table += np.bincount(pairs, minlength=2**16)
    return table.reshape(256, 256)


def iou_per_class(matrix: Counts) -> Scores:
    """Intersection over union: (..., N) of matrices (..., N, N); NaN where the truth lacks the class."""
    hits, true, predicted = _marginals(matrix)
    return _ratio(hits, true + predicted - hits, defined=true > 0)


def f1_per_class(matrix: Counts) -> Scores:
    """F1 (Dice): (..., N) in [0, 1] of matrices (..., N, N); NaN where the truth lacks the class."""
    hits, true, predicted = _marginals(matrix)
    return _ratio(2 * hits, true + predicted, defined=true > 0)


def recall_per_class(matrix: Counts) -> Scores:
    """Class accuracy, true pixels of it that are right: (..., N); NaN where the truth lacks the class."""
    hits, true, _ = _marginals(matrix)
    return _ratio(hits, true, defined=true > 0)


def precision_per_class(matrix: Counts) -> Scores:
    """Fraction of the pixels given to a class that are right: (..., N); NaN where none was given to it."""
    hits, _, predicted = _marginals(matrix)
    return _ratio(hits, predicted, defined=predicted > 0)


def accuracy(matrix: Counts) -> Scores:
    """Fraction of right pixels: (...) in [0, 1] of matrices (..., N, N); NaN for a matrix without pixels."""
    hits, true, _ = _marginals(matrix)
    total = true.sum(axis=-1)
    return _ratio(hits.sum(axis=-1), total, defined=total > 0)


def mean_defined(scores: Scores, classes: Sequence[int] | None = None) -> Scores:
    """Mean over the last axis of the scores that are not NaN, of some classes or all; NaN where none is."""
    chosen = scores if classes is None else scores[..., list(classes)]
    defined = ~np.isnan(chosen)
    amount = defined.sum(axis=-1)
    return _ratio(np.where(defined, chosen, 0).sum(axis=-1), amount, defined=amount > 0)


class ConfusionAccumulator:
    """One confusion matrix per image, filled window by window.

    Args:
        n_classes: N, 1 to 255.
        ignore: label left out on either side.
    """

    def __init__(self, n_classes: int, *, ignore: int = IGNORE) -> None:
        self.n_classes = n_classes
        self.ignore = ignore
        self._matrices: dict[str, Counts] = {}

    def update(self, prediction: LabelArray, truth: LabelArray, *, image: str) -> None:
        """Count a window of an image; windows must not overlap. Arguments as for `confusion_matrix`."""
        self.add(
            confusion_matrix(prediction, truth, n_classes=self.n_classes, ignore=self.ignore), image=image
        )

    def add(self, matrix: Counts, *, image: str) -> None:
        """Add counts (N, N) of an image, from another process for instance."""
        if matrix.shape != (self.n_classes, self.n_classes):
            raise InvalidParameterError(
                f"{image}: the matrix must be {self.n_classes} x {self.n_classes}, not {matrix.shape}"
            )
        counted = self._matrices.get(image)
        self._matrices[image] = matrix.copy() if counted is None else counted + matrix

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the images seen, in the order first seen."""
        return tuple(self._matrices)

    @property
    def matrices(self) -> Counts:
        """(images, N, N) int64."""
        return np.array(list(self._matrices.values()), np.int64).reshape(-1, self.n_classes, self.n_classes)

    @property
    def pooled(self) -> Counts:
        """(N, N) int64, all images added up."""
        total: Counts = self.matrices.sum(axis=0)
        return total


def _bytes(labels: LabelArray) -> NDArray[np.uint8]:
    # asked this way round, because reports are read by programs that do without PyTorch
    array = labels if isinstance(labels, np.ndarray) else labels.detach().cpu().numpy()
    if array.dtype.kind not in "iu":
        raise InvalidParameterError(f"label maps must hold integers, not {array.dtype}")
    if array.dtype != np.uint8 and array.size and (array.min() < 0 or array.max() > IGNORE):
        raise InvalidParameterError(
            f"labels must be from 0 to {IGNORE}; found {array.min()} to {array.max()}"
        )
    return array.astype(np.uint8, copy=False)


def _marginals(matrix: Counts) -> tuple[Counts, Counts, Counts]:
    """Right, true and predicted pixels of each class, (..., N) each."""
    return np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-1), matrix.sum(axis=-2)


def _ratio(part: Counts | Scores, whole: Counts, *, defined: NDArray[np.bool_]) -> Scores:
    return np.where(defined, part / np.maximum(whole, 1), np.nan)
