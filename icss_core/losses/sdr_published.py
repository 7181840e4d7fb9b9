"""SDR as the published ICSS code computes it, which differs from SDR and from the ICSS paper.

Used by the presets `icss-code/*`, to reproduce that code; otherwise use `sdr.py`. Three things differ.
Positions outside a class count as zero features, so attraction mostly shrinks the prototypes and repulsion
mostly grows them. Prototypes are matched to those of the *previous batch*, not to the memory network's. And
labels are reduced to the stride-32 features by nearest sampling, so that about one label in a thousand is
used.
"""

from __future__ import annotations

import torch
from torch import Tensor

from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE
from icss_core.losses.prototypes import class_means, labelled_features, membership_matrix
from icss_core.losses.sdr import SMALLEST_DISTANCE, SdrTerms


def published_sdr_terms(
    features: Tensor,
    labels: Tensor,
    previous: Tensor,
    *,
    every_label: bool = False,
    ignore: int = IGNORE,
) -> tuple[SdrTerms, Tensor]:
    """The three terms of a batch, and the class means that the next batch is compared with.

    With M positions, n_c of them in class c, and K channels, the published mean over all positions of
    (A_c - p_j)^2 is (sum_{i in c} |f_i|^2 - 2 p_j . sum_{i in c} f_i + M |p_j|^2) / (M K): no masked copy of
    the features per class is needed.

    Args:
        features: (B, C, h, w) float; the deepest level, or the logits (published `PROTOTYPE_CHANNELS`).
        labels: (B, H, W) int64 at a whole multiple of the features' resolution, `ignore` where unlabelled.
        previous: (N, C) class means of the batch before, NaN where a class was absent; zeros at the start.
        every_label: use labels at full resolution and features up-sampled by repetition (published
            `LATENT_SPACE: false`) instead of the labels at every stride-th pixel (`true`, its default).
        ignore: value of unlabelled pixels.

    Deviation: distances are at least `SMALLEST_DISTANCE`; the published code has no such limit.

    Returns:
        The terms, where classes that are absent (or were, for `match`) contribute nothing to sums that are
        divided by N and N (N - 1) all the same; and the means (N, C), detached, NaN where absent.

    Raises:
        InvalidParameterError: shapes, dtypes or labels do not fit.
    """
    n_classes = len(previous)
    if previous.shape != (n_classes, features.shape[1]) or n_classes < 2:
        raise InvalidParameterError(
            f"previous must be (N, {features.shape[1]}) with N of at least 2, not {tuple(previous.shape)}"
        )
    stride = max(labels.shape[1] // features.shape[2], 1)
    seen = labels if every_label else labels[:, ::stride, ::stride]
    samples = labelled_features(features, seen, assignment="pooled", ignore=ignore)
    prototypes = class_means(samples, n_classes=n_classes)
    means, present = prototypes.means, prototypes.valid

    target = previous.to(means).detach()
    in_both = present & ~target.isnan().any(dim=1)
    moved = (means - torch.where(in_both[:, None], target, means.detach())).square().mean(dim=1)
    match = torch.where(in_both, moved, torch.zeros_like(moved)).sum() / n_classes

    squares = membership_matrix(samples, n_classes).T @ samples.features.square().sum(dim=1)
    sums = means * prototypes.counts[:, None]
    total = seen.numel()
    spread = squares[:, None] - 2 * sums @ means.T + total * means.square().sum(dim=1)
    spread = spread / (total * means.shape[1])
    own = torch.eye(n_classes, dtype=torch.bool, device=means.device)
    attract = spread[own & present].sum() / n_classes
    inverse = 1 / spread.clamp(min=SMALLEST_DISTANCE)[~own & present[None, :]]
    repulse = inverse.sum() / (n_classes * (n_classes - 1))
    next_previous = means.detach().masked_fill(~present[:, None], torch.nan)
    return SdrTerms(match, attract, repulse), next_previous
