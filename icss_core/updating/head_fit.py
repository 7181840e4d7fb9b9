"""Fitting the classifier to the labelled pixels before anything else is trained.

With the background initialisation the row of a new class *equals* the row of the background. Until the two
rows differ, no gradient tells the features of one class from those of the other: a saddle point, at which
fine-tuning can stay for a hundred iterations while old classes get worse. A multinomial logistic regression
on the decoder features at the labelled pixels, with a penalty for moving away from the initial rows, leaves
the saddle point in a second or two and changes no feature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from icss_core.losses import LabelledFeatures, labelled_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn


def classifier_rows(classifier: nn.Conv2d, decoder_features: Tensor, labels: Tensor) -> LabelledFeatures:
    """What the classifier sees at each labelled pixel, as rows of its flattened kernel.

    Args:
        classifier: k x k convolution, zero padded to keep the size.
        decoder_features: (B, D, h, w).
        labels: (B, H, W) int64 at a whole multiple of the features' resolution; 255 = unlabelled.

    Returns:
        Features (m, D k k) and classes (m,), detached. Where the head up-samples logits, the row is the
        bilinear mix of its neighbours, which gives the same logits since the classifier is linear.
    """
    kernel = classifier.kernel_size
    features = decoder_features.detach().float()
    if kernel != (1, 1):
        batch, _, height, width = features.shape
        patches = functional.unfold(features, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
        features = patches.view(batch, -1, height, width)
    return labelled_features(features, labels, assignment="bilinear")


def concatenate(samples: Sequence[LabelledFeatures]) -> LabelledFeatures:
    """The rows of several calls as one set."""
    return LabelledFeatures(*(torch.cat(parts) for parts in zip(*samples, strict=True)))


def fit_classifier(
    classifier: nn.Conv2d,
    samples: LabelledFeatures,
    *,
    iterations: int,
    l2_to_start: float,
    cap: int | None = None,
) -> float:
    r"""Multinomial logistic regression, in place.

    .. math:: \min_W \sum_c v_c L_c(W) / \sum_c v_c + \frac{\lambda}{2} \lVert W - W_0 \rVert^2

    with L_c the mean cross-entropy over the labelled pixels of class c, W_0 the rows the classifier has, and
    votes v_c = min(n_c, cap): a class with a handful of labels does not weigh as much as one with hundreds.

    Args:
        classifier: convolution whose weight and bias are replaced.
        samples: rows as `classifier_rows` gives them.
        iterations: of L-BFGS with strong-Wolfe line search, in float64.
        l2_to_start: lambda, weight of the squared distance to the initial rows, for features of unit scale.
        cap: labelled pixels from which a class's vote is full; None: a fifth of the largest class.

    Returns:
        The objective reached.
    """
    shape = classifier.weight.shape
    # features scaled by one number, so that `l2_to_start` means the same for every encoder
    scale = samples.features.double().square().mean().sqrt().clamp(min=1e-12)
    features = samples.features.double() / scale
    counts = torch.bincount(samples.classes, minlength=shape[0])
    full = cap if cap is not None else max(int(counts.max()) // 5, 1)
    votes = counts.clamp(max=full).double()
    weights = (votes / counts.clamp(min=1) / votes.sum())[samples.classes]
    assert classifier.bias is not None  # noqa: S101 - every head of ours has one
    start = torch.cat(
        [classifier.weight.detach().double().flatten(1) * scale, classifier.bias.detach().double()[:, None]],
        dim=1,
    )
    rows = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([rows], max_iter=iterations, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimiser.zero_grad()
        logits = features @ rows[:, :-1].T + rows[:, -1]
        losses = functional.cross_entropy(logits, samples.classes, reduction="none")
        value = (weights * losses).sum() + l2_to_start / 2 * (rows - start).square().sum()
        value.backward()  # type: ignore[no-untyped-call]  # torch's own stub
        return value

    optimiser.step(objective)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        classifier.weight.copy_((rows[:, :-1] / scale).view(shape))
        classifier.bias.copy_(rows[:, -1])
    return float(objective().detach())
