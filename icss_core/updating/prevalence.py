"""Adapts the biases of the new classes to how common these classes are in the image.

To an update a new class looks as common as the background: there are about as many clicks of both, and the
loss weighs both classes alike. In most images the new class covers far fewer pixels, so that a network
trained in this way maps too many pixels to it. The true class frequencies can be estimated from the
unlabelled pixels: from the probabilities that the network gives under the training frequencies follows the
likelihood of any other frequencies, which expectation maximisation maximises (Saerens, Latinne, Decaestecker:
"Adjusting the outputs of a classifier to new a priori probabilities", Neural Computation 14, 2002).

Not in the ICSS paper.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from icss_core.errors import InvalidParameterError
from icss_core.labels import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from icss_core.clicks.click_set import ClickSet
    from icss_core.methods import PrevalenceRule
    from icss_core.networks.segmenter import Segmenter
    from icss_core.updating.tile_runner import TileOutput, TileRunner
    from icss_core.updating.tiles import WorkingArea

_PIXELS = 2**16
"""Approximate number of pixels that the expectation maximisation reads."""


class SeenLogits(NamedTuple):
    """Logits of a network at some pixels of an image."""

    pixels: Tensor
    """(n, N) float32, logits of pixels on a regular grid, labelled or not."""
    clicks: Tensor
    """(m, N) float32, logits of clicked pixels."""
    labels: Tensor
    """(m,) int64, their classes."""


def adapt_to_prevalence(
    runner: TileRunner,
    network: Segmenter,
    area: WorkingArea,
    clicks: ClickSet,
    rule: PrevalenceRule,
    *,
    n_old: int,
    trained: Mapping[int, float],
) -> None:
    """Shift the biases of a trained network's new classes, in place.

    Args:
        runner: of the image.
        network: the updated network; left in eval mode.
        area: tiles of the image over which the frequencies are estimated.
        clicks: clicks of the annotator.
        rule: numbers of the adaptation.
        n_old: number of classes of the memory network.
        trained: how often the training saw the background and each new class, by label; a missing label
            counts as one.

    Raises:
        CancelledError: the runner was stopped.
    """
    seen = _sample(runner.outputs(network, area), area, clicks, runner.device)
    candidates = [BACKGROUND, *range(n_old, network.n_classes)]
    votes = torch.tensor([float(max(trained.get(label, 1), 1)) for label in candidates])
    shift = prevalence_shift(
        seen, votes, n_old=n_old, clicks_kept=rule.clicks_kept, iterations=rule.iterations
    )
    assert network.classifier.bias is not None  # noqa: S101 - every head of ours has one
    with torch.no_grad():
        network.classifier.bias[n_old:] += shift.to(network.classifier.bias)


def estimate_prevalence(
    posteriors: Tensor, trained: Tensor, *, weights: Tensor | None = None, iterations: int = 100
) -> Tensor:
    r"""Class frequencies of unlabelled data under which a classifier's outputs are likeliest.

    .. math:: q_c \leftarrow \frac{1}{\sum_i w_i} \sum_i w_i
              \frac{p_{ic}\, q_c / \pi_c}{\sum_k p_{ik}\, q_k / \pi_k}

    Args:
        posteriors: (n, K) not negative, rows sum to 1: probabilities under the trained frequencies.
        trained: (K,) positive, the frequencies pi that the classifier was trained with; scaled to sum 1.
        weights: (n,) not negative, weight of each row; None: all rows weigh the same.
        iterations: largest number of iterations; stops earlier if no frequency changes by more than 1e-6.

    Returns:
        (K,) float64 frequencies q, sum 1.

    Raises:
        InvalidParameterError: shapes do not fit, or a trained frequency is not positive.
    """
    if posteriors.ndim != 2 or trained.shape != posteriors.shape[1:] or not bool((trained > 0).all()):
        raise InvalidParameterError(
            f"posteriors (n, K) and K positive frequencies, not {tuple(posteriors.shape)} and {trained}"
        )
    pi = trained.double() / trained.double().sum()
    rows = posteriors.double() / pi
    counts = rows.new_ones(len(rows)) if weights is None else weights.double()
    if not len(rows) or not bool(counts.sum() > 0):
        return pi
    frequencies = pi
    for _ in range(iterations):
        joint = rows * frequencies
        responsibilities = joint / joint.sum(dim=1, keepdim=True).clamp(min=1e-300)
        before, frequencies = frequencies, (counts[:, None] * responsibilities).sum(dim=0) / counts.sum()
        if float((frequencies - before).abs().max()) < 1e-6:
            break
    return frequencies


def prevalence_shift(
    seen: SeenLogits, trained: Tensor, *, n_old: int, clicks_kept: float, iterations: int = 100
) -> Tensor:
    """Numbers to add to the biases of the new classes.

    Only the frequencies of the background and of the new classes are estimated; each pixel is weighted by its
    probability of being one of these. The old classes of interest keep their biases, and so their
    frequencies.

    Args:
        seen: logits of the trained network; old classes first.
        trained: (1 + K,) positive, how often the training saw the background and each new class.
        n_old: number of old classes.
        clicks_kept: each shift is limited so that at least this fraction of the clicks that the network gets
            right stays right.
        iterations: number of iterations of the expectation maximisation.

    Returns:
        (K,) float64.
    """
    candidates = [BACKGROUND, *range(n_old, seen.pixels.shape[1])]
    probabilities = seen.pixels.double().softmax(dim=1)[:, candidates]
    weights = probabilities.sum(dim=1)
    posteriors = probabilities / weights.clamp(min=1e-300)[:, None]
    frequencies = estimate_prevalence(posteriors, trained, weights=weights, iterations=iterations)
    ratio = (frequencies / trained.double()).clamp(min=1e-12)
    shift = (ratio[1:] / ratio[0]).log()
    return torch.stack([_kept(float(value), seen, n_old + i, clicks_kept) for i, value in enumerate(shift)])


def _sample(
    outputs: Iterable[TileOutput],
    area: WorkingArea,
    clicks: ClickSet,
    device: torch.device,
) -> SeenLogits:
    """Logits on a grid of about `_PIXELS` pixels, and at the clicks."""
    step = max(1, math.ceil(math.sqrt(len(area.tiles) * area.size**2 / _PIXELS)))
    pixels, clicked, labels = [], [], []
    for _, tile, read, output in outputs:
        own = output.logits[0][:, tile.own_rows, tile.own_cols].float()
        valid = torch.from_numpy(read.valid[tile.own_rows, tile.own_cols]).to(device)
        targets = torch.from_numpy(clicks.label_map(tile.cell)).to(device)
        pixels.append(own[:, ::step, ::step][:, valid[::step, ::step]].T.cpu())
        clicked.append(own[:, targets != IGNORE].T.cpu())
        labels.append(targets[targets != IGNORE].long().cpu())
    return SeenLogits(torch.cat(pixels), torch.cat(clicked), torch.cat(labels))


def _kept(shift: float, seen: SeenLogits, label: int, clicks_kept: float) -> Tensor:
    """The shift of a class, limited so that enough clicks stay right; 0 without a click that limits it."""
    logits = seen.clicks.double()
    right = logits.argmax(dim=1) == seen.labels
    of_class = seen.labels == label
    if shift < 0:
        logits, selected = logits[right & of_class], right & of_class
        rivals = logits.clone()
        rivals[:, label] = -math.inf
        margins = logits[:, label] - rivals.max(dim=1).values
    else:
        selected = right & ~of_class
        logits = logits[selected]
        margins = logits.gather(1, seen.labels[selected][:, None])[:, 0] - logits[:, label]
    if not len(margins):
        return torch.zeros((), dtype=torch.float64)
    # at the bound itself the two classes of that click would be equal; slightly less leaves it right
    bound = float(torch.quantile(margins, 1 - clicks_kept, interpolation="lower")) * (1 - 1e-6)
    return torch.tensor(math.copysign(min(abs(shift), bound), shift), dtype=torch.float64)
