"""A triplet loss: labelled pixels are closer to those of their class than to others, across a batch's images.

Source: Qian et al., "Weakly Supervised Scene Parsing with Point-based Distance Metric Learning" (PDML), AAAI
2019, arXiv 1811.02233. The full text of the paper was not available. Its abstract says that features of
annotated points are made more alike within a class than between classes, across images, by a simple distance
metric loss beside the point-wise cross-entropy. The form here is the triplet loss of Schroff et al.,
"FaceNet", arXiv 1503.03832, Eq. 2, over all triplets of a batch. The choice of points and all numbers are
ours.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import torch
from torch.nn import functional

from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE
from icss_core.losses.prototypes import LabelledFeatures, labelled_features

if TYPE_CHECKING:
    from torch import Tensor

SHORTEST: Final = 1e-3
"""Features shorter than this are divided by it instead of their length: after a ReLU all features of a pixel
may be zero, and normalising a vector of nearly zero length has an unbounded gradient."""


def point_triplet_loss(
    features: Tensor, labels: Tensor, *, margin: float, per_class: int, ignore: int = IGNORE
) -> Tensor:
    r"""Triplet loss of the features at labelled pixels.

    .. math:: L = \frac{1}{|T|} \sum_{(a, p, n) \in T} \max(0, \|f_a - f_p\|^2 - \|f_a - f_n\|^2 + m)

    T are all triplets of chosen pixels of the batch, a and p different pixels of one class, n of another,
    from any of its images; f is the feature of the cell that a pixel lies in, scaled to length 1, so that
    squared distances are in [0, 4]. The cost is that of n_classes^2 per_class^3 numbers, whatever the crops'
    size.

    Args:
        features: (B, D, h, w) float; 16-bit values are widened to float32.
        labels: (B, H, W) int64 with H = s h and W = s w for a whole s >= 1; class indices or `ignore`.
        margin: m, by how much other classes should be further away; finite and not negative.
        per_class: largest number of labelled pixels of a class to compare, at least 2. If there are more,
            those spread evenly over the batch in scan order are taken: the same ones for the same labels.
        ignore: value of unlabelled pixels.

    Returns:
        Scalar in [0, 4 + m]; 0 with gradient 0 where no class has two pixels, or only one class has any.

    Raises:
        InvalidParameterError: shapes, dtypes or labels do not fit, or a number is out of bounds.
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise InvalidParameterError(f"margin must be finite and not negative, not {margin}")
    if per_class < 2:
        raise InvalidParameterError(f"per_class must be at least 2 pixels, not {per_class}")
    chosen = torch.where(_spread_evenly(labels, per_class, ignore), labels, ignore)
    # pixels of one class in one cell become one row, weighted by their number
    return _triplet_mean(labelled_features(features, chosen, assignment="pooled", ignore=ignore), margin)


def _spread_evenly(labels: Tensor, per_class: int, ignore: int) -> Tensor:
    """Bool of the labels' shape: of each class, up to `per_class` pixels, evenly spaced in scan order."""
    flat = labels.flatten()
    places = torch.nonzero(flat != ignore)[:, 0]
    # values that are no class are kept here; `labelled_features` refuses them
    _, classes, counts = torch.unique(flat[places], return_inverse=True, return_counts=True)
    order = classes.argsort(stable=True)
    of_class = counts[classes[order]]
    rank = torch.arange(len(order), device=flat.device) - (counts.cumsum(0) - counts)[classes[order]]
    kept = of_class.clamp(max=per_class)
    # the integer part of rank * kept / of_class takes each value below `kept` once or more: the first one
    first = (rank * kept).div(of_class, rounding_mode="floor") != ((rank - 1) * kept).div(
        of_class, rounding_mode="floor"
    )
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    chosen[places[order[first]]] = True
    return chosen.view_as(labels)


def _triplet_mean(samples: LabelledFeatures, margin: float) -> Tensor:
    """Mean over all triplets of pixels behind the rows."""
    rows = functional.normalize(samples.features, dim=1, eps=SHORTEST)  # (m, D)
    with torch.autocast(rows.device.type, enabled=False):  # 16 bits are too few for close points
        squares = rows.square().sum(dim=1)
        distances = squares[:, None] + squares[None] - 2 * rows @ rows.T  # (m, m)
    same = samples.classes[:, None] == samples.classes[None]
    # how many pairs (a, p) stand behind two rows: a pixel makes none with itself
    pairs = samples.weights[:, None] * samples.weights[None] - torch.diag(samples.weights)
    anchor, positive = torch.nonzero(same & (pairs > 0), as_tuple=True)
    losses = functional.relu(distances[anchor, positive][:, None] - distances[anchor] + margin)
    triplets = pairs[anchor, positive][:, None] * torch.where(same[anchor], 0, samples.weights)
    return (losses * triplets).sum() / triplets.sum().clamp(min=1)
