"""Matching, attraction and repulsion of class prototypes: SDR as the ICSS paper describes it.

Sources: Michieli and Zanuttigh, SDR, arXiv 2103.06342; Lenczner et al., ICSS. Deviations from the
published ICSS code, which compares consecutive mini-batches and counts pixels of other classes as zero
features:

* the previous prototypes are the memory network's, constant during the task;
* means run over the pixels of the class only;
* every labelled pixel counts (see `prototypes`), not those on the stride-32 grid;
* classes, and pairs of classes, that a batch lacks are left out of sum and divisor (`present`); `all`
  divides by N and N (N - 1) as published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

import torch
from torch.nn import functional

from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE
from icss_core.losses.prototypes import (
    Assignment,
    LabelledFeatures,
    Prototypes,
    class_means,
    labelled_features,
    membership_matrix,
)

if TYPE_CHECKING:
    from torch import Tensor

Normalisation = Literal["present", "all"]
"""What a sum over classes or pairs is divided by: the terms that are defined, or all N (N (N - 1) pairs)."""

SMALLEST_DISTANCE: Final = 1e-6
"""Lower limit of mean squared distances, so that dividing by them never gives infinity."""


class SdrTerms(NamedTuple):
    """The three scalars, not weighted."""

    match: Tensor
    attract: Tensor
    repulse: Tensor

    def total(self) -> Tensor:
        """Their sum (weight 1 each, as in ICSS)."""
        return self.match + self.attract + self.repulse


def sdr_terms(
    features: Tensor,
    labels: Tensor,
    memory_prototypes: Tensor,
    memory_valid: Tensor,
    *,
    assignment: Assignment = "bilinear",
    normalisation: Normalisation = "present",
    ignore: int = IGNORE,
) -> SdrTerms:
    """The three terms of a batch, from labels at any whole multiple of the features' resolution.

    The current prototypes are the batch's class means and are differentiated through. The cost is that of
    some hundred feature rows, whatever the size of the crops.

    Args:
        features: (B, C, h, w) float of the updated network.
        labels: (B, H, W) int64, clicks and pseudo-labels; `ignore` elsewhere. H = s h, W = s w.
        memory_prototypes: (N, C) float of the memory network, constant; rows of classes that it lacks may
            hold anything.
        memory_valid: (N,) bool, True for classes that the memory network has.
        assignment: how a labelled pixel reads the features, see `prototypes.Assignment`.
        normalisation: see `Normalisation`.
        ignore: value of unlabelled pixels.

    Returns:
        SdrTerms; each is 0 with gradient 0 where it is not defined.

    Raises:
        InvalidParameterError: shapes, dtypes or labels do not fit, or an option is unknown.
    """
    n_classes = memory_prototypes.shape[0]
    if memory_prototypes.shape != (n_classes, features.shape[1]) or memory_valid.shape != (n_classes,):
        raise InvalidParameterError(
            f"memory_prototypes must be (N, {features.shape[1]}) and memory_valid (N,); got "
            f"{tuple(memory_prototypes.shape)} and {tuple(memory_valid.shape)}"
        )
    if normalisation not in get_args(Normalisation):
        raise InvalidParameterError(
            f"unknown normalisation {normalisation!r}; one of {get_args(Normalisation)}"
        )
    samples = labelled_features(features, labels, assignment=assignment, ignore=ignore)
    current = class_means(samples, n_classes=n_classes)
    memory = Prototypes(memory_prototypes.detach(), memory_valid.to(current.counts.dtype))
    spread, present = within_class_spread(samples, current)
    return SdrTerms(
        matching(current, memory, normalisation=normalisation),
        _mean_of_defined(spread, present, normalisation),
        _repulsion(spread, present, current.means, normalisation),
    )


def matching(current: Prototypes, memory: Prototypes, *, normalisation: Normalisation = "present") -> Tensor:
    """Mean over classes of mean_k (p_ck - q_ck)^2: prototypes stay close to the memory network's.

    Defined for classes that both have. `current` may carry gradient, `memory` is taken as constant.

    Returns:
        Scalar, not negative.
    """
    in_both = current.valid & memory.valid
    target = torch.where(in_both[:, None], memory.means.detach().to(current.means), current.means.detach())
    return _mean_of_defined((current.means - target).square().mean(dim=1), in_both, normalisation)


def attraction(
    samples: LabelledFeatures, prototypes: Prototypes, *, normalisation: Normalisation = "present"
) -> Tensor:
    """Mean over classes of the mean over their pixels and channels of (f - p_c)^2: classes contract.

    `prototypes` are the batch's own means (ICSS, differentiated through) or constants (SDR's running ones).

    Returns:
        Scalar, not negative.
    """
    spread, present = within_class_spread(samples, prototypes)
    return _mean_of_defined(spread, present, normalisation)


def repulsion(
    samples: LabelledFeatures, prototypes: Prototypes, *, normalisation: Normalisation = "present"
) -> Tensor:
    """Mean over ordered pairs of classes of 1 / mean over pixels of c and channels of (f - p_j)^2.

    `prototypes` must be the class means of `samples`: then the mean squared distance of the pixels of c to
    p_j is the spread of c plus the squared distance of p_c to p_j, and no table of pixels times classes is
    needed. Distances below `SMALLEST_DISTANCE` count as that and have no gradient.

    Returns:
        Scalar, not negative; 0 with fewer than two classes.
    """
    spread, present = within_class_spread(samples, prototypes)
    return _repulsion(spread, present, prototypes.means, normalisation)


def within_class_spread(samples: LabelledFeatures, prototypes: Prototypes) -> tuple[Tensor, Tensor]:
    """Per class, the mean over its pixels and channels of (f - p_c)^2.

    Returns:
        (N,) float, 0 for classes without pixels, and (N,) bool, the class has pixels.
    """
    own = functional.embedding(samples.classes, prototypes.means.to(samples.features))
    squares = functional.mse_loss(samples.features, own, reduction="none").mean(dim=1)
    membership = membership_matrix(samples, prototypes.means.shape[0])
    counts = membership.sum(dim=0)
    with torch.autocast(squares.device.type, enabled=False):
        return squares @ membership / counts.clamp(min=1), counts > 0


def _repulsion(spread: Tensor, present: Tensor, means: Tensor, normalisation: Normalisation) -> Tensor:
    """`repulsion` of class means (N, C) whose pixels have this spread (N,)."""
    classes = torch.nonzero(present)[:, 0]
    n_classes, means = len(means), means[classes]
    distance = spread[classes][:, None] + (means[:, None] - means[None]).square().mean(dim=2)
    pairs = ~torch.eye(len(classes), dtype=torch.bool, device=means.device)
    inverse = 1.0 / distance.clamp(min=SMALLEST_DISTANCE)[pairs]
    divisor = inverse.numel() if normalisation == "present" else n_classes * (n_classes - 1)
    return inverse.sum() / max(divisor, 1)


def _mean_of_defined(values: Tensor, defined: Tensor, normalisation: Normalisation) -> Tensor:
    """Mean of (N,) values over those defined, or their sum over N; the others must be finite."""
    total = torch.where(defined, values, torch.zeros_like(values)).sum()
    if normalisation == "all":
        return total / defined.numel()
    return total / defined.sum().clamp(min=1)
