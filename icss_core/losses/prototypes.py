"""Class prototypes: the mean feature of each class over all labelled pixels.

Features of the deepest encoder level have a stride of 32 pixels. Reducing labels to that grid by nearest
sampling, as the published ICSS code does, keeps one label in about a thousand. Here labels keep their full
resolution, and features are read where the labels are: a few hundred rows, never an up-sampled map.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional

from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE

Assignment = Literal["pooled", "bilinear"]
"""How a labelled pixel reads the feature map.

`pooled`: it takes the feature cell that it lies in. Class means then equal those of one-hot labels
average-pooled to the feature grid (a soft assignment of cells to classes), and those of features up-sampled
by repetition (the published `LATENT_SPACE: false`), without the cost of up-sampling. Pixels of one class in
one cell become one weighted row.

`bilinear`: it interpolates between the four nearest cell centres (half-pixel convention, as
`interpolate(align_corners=False)`), constant beyond the outermost centres. One row per labelled pixel.

With labels already at feature resolution both are the same: the cell of the label.
"""


PROTOTYPES_ARTEFACT: Final = "prototypes"
"""Name under which a model version keeps the prototypes of its classes."""


class LabelledFeatures(NamedTuple):
    """`features` (m, C) float and, for each row, `classes` (m,) int64 and `weights` (m,) float, positive."""

    features: Tensor
    classes: Tensor
    weights: Tensor


class Prototypes(NamedTuple):
    """`means` (N, C) float, zero for classes without pixels; `counts` (N,) float, pixels behind each mean."""

    means: Tensor
    counts: Tensor

    @property
    def valid(self) -> Tensor:
        """(N,) bool: the class has been seen."""
        return self.counts > 0

    def detach(self) -> Prototypes:
        """The same values without gradient."""
        return Prototypes(self.means.detach(), self.counts.detach())

    def extended(self, n_classes: int) -> Prototypes:
        """The same with rows up to `n_classes`, zero for classes that were never seen."""
        missing = n_classes - len(self.means)
        return Prototypes(
            torch.cat([self.means, self.means.new_zeros(missing, self.means.shape[1])]),
            torch.cat([self.counts, self.counts.new_zeros(missing)]),
        )


def labelled_features(
    features: Tensor, labels: Tensor, *, assignment: Assignment = "bilinear", ignore: int = IGNORE
) -> LabelledFeatures:
    """Features at the labelled pixels of a batch, differentiable in `features`.

    Args:
        features: (B, C, h, w) float, any memory format; 16-bit values are widened to float32.
        labels: (B, H, W) int64 with H = s h and W = s w for a whole stride s >= 1; class indices or `ignore`.
        assignment: how a pixel reads the map, see `Assignment`.
        ignore: value of unlabelled pixels.

    Returns:
        Rows in the order of the pixels (`bilinear`) or of the cells and classes (`pooled`); none at all where
        nothing is labelled. The weights count labelled pixels.

    Raises:
        InvalidParameterError: shapes, dtypes or labels do not fit, or the assignment is unknown.
    """
    stride = _validate_args(features, labels, assignment, ignore)
    dtype = torch.promote_types(features.dtype, torch.float32)
    rows = features.movedim(1, -1).to(dtype)  # (B, h, w, C)
    image, row, col = torch.nonzero(labels != ignore, as_tuple=True)
    classes = labels[image, row, col]
    if assignment == "bilinear" and stride > 1:
        sampled = _bilinear(rows, image, row, col, stride=stride)
        return LabelledFeatures(sampled, classes, torch.ones_like(classes, dtype=dtype))
    height, width = features.shape[2:]
    cell = (image * height + row // stride) * width + col // stride
    # a cell's pixels of one class become one row; 255 classes at most, so 256 keeps the keys apart
    keys, counts = torch.unique(cell * 256 + classes, return_counts=True)
    cell, classes = keys // 256, keys % 256
    sampled = functional.embedding(cell, rows.reshape(-1, rows.shape[-1]))
    return LabelledFeatures(sampled, classes, counts.to(dtype))


def class_means(samples: LabelledFeatures, *, n_classes: int) -> Prototypes:
    """Weighted mean feature of each class, differentiable in the features.

    Args:
        samples: m rows, see `labelled_features`.
        n_classes: N; every class of the samples must be below it.

    Returns:
        Prototypes with means (N, C), zero for classes without rows, and counts (N,).

    Raises:
        InvalidParameterError: a class is not below `n_classes`.
    """
    if samples.classes.numel() and int(samples.classes.max()) >= n_classes:
        raise InvalidParameterError(f"labels must be below {n_classes}; found {int(samples.classes.max())}")
    with torch.autocast(
        samples.features.device.type, enabled=False
    ):  # sums in 16 bits lose the small classes
        membership = membership_matrix(samples, n_classes)
        counts = membership.sum(dim=0)
        means = membership.T @ samples.features / counts.clamp(min=1)[:, None]
    return Prototypes(means, counts)


def merge_prototypes(first: Prototypes, second: Prototypes) -> Prototypes:
    """Prototypes of two sets of pixels together: the mean weighted by counts.

    Running over windows or batches this is the running prototype of SDR (Michieli and Zanuttigh, arXiv
    2103.06342): classes absent from the second set stay as they are.

    Raises:
        InvalidParameterError: the two differ in classes or channels.
    """
    if first.means.shape != second.means.shape:
        raise InvalidParameterError(
            f"prototypes of {tuple(first.means.shape)} and {tuple(second.means.shape)} cannot be merged"
        )
    counts = first.counts + second.counts
    fraction = (second.counts / counts.clamp(min=1))[:, None]
    return Prototypes(first.means + fraction * (second.means - first.means), counts)


def membership_matrix(samples: LabelledFeatures, n_classes: int) -> Tensor:
    """(m, N): the weight of each row in the column of its class, zero elsewhere.

    A matrix product with it sums per class in a fixed order, where scatter-add on a GPU would not.
    """
    matrix = samples.weights.new_zeros(samples.classes.shape[0], n_classes)
    return matrix.scatter_(1, samples.classes[:, None], samples.weights[:, None])


def _bilinear(rows: Tensor, image: Tensor, row: Tensor, col: Tensor, *, stride: int) -> Tensor:
    """(n, C): the map (B, h, w, C) interpolated at the centres of full-resolution pixels."""
    height, width, channels = rows.shape[1:]
    y = ((row.to(rows.dtype) + 0.5) / stride - 0.5).clamp(0, height - 1)
    x = ((col.to(rows.dtype) + 0.5) / stride - 0.5).clamp(0, width - 1)
    top, left = y.long(), x.long()
    bottom, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    down, across = y - top, x - left
    corners = torch.stack(
        [top * width + left, top * width + right, bottom * width + left, bottom * width + right]
    )
    shares = torch.stack([(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across])
    # a bag of four rows with weights: five times as fast, backward included, as indexing and adding up
    return functional.embedding_bag(
        (image * height * width + corners).T.contiguous(),
        rows.reshape(-1, channels),
        mode="sum",
        per_sample_weights=shares.T.contiguous(),
    )


def _validate_args(features: Tensor, labels: Tensor, assignment: str, ignore: int) -> int:
    """The stride of the features."""
    if assignment not in get_args(Assignment):
        raise InvalidParameterError(f"unknown assignment {assignment!r}; one of {get_args(Assignment)}")
    if features.ndim != 4 or labels.ndim != 3 or labels.shape[0] != features.shape[0]:
        raise InvalidParameterError(
            "features must be (B, C, h, w) and labels (B, H, W); "
            f"got {tuple(features.shape)} and {tuple(labels.shape)}"
        )
    if labels.dtype != torch.int64:
        raise InvalidParameterError(f"labels must be int64, not {labels.dtype}")
    stride = labels.shape[1] // max(features.shape[2], 1)
    if stride < 1 or labels.shape[1:] != (stride * features.shape[2], stride * features.shape[3]):
        raise InvalidParameterError(
            f"labels of {tuple(labels.shape[1:])} pixels are not a whole multiple of features of "
            f"{tuple(features.shape[2:])} cells"
        )
    if labels.numel() and (int(labels.min()) < 0 or not 0 <= ignore <= IGNORE or int(labels.max()) > IGNORE):
        raise InvalidParameterError(f"labels and ignore must be in [0, {IGNORE}]")
    return stride
