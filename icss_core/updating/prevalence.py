"""How common the new classes are in the image, and the classifier's biases that go with it.

An update sees as many clicks of a new class as of the background, and every class has a vote of its own: it
trains as if the new class covered as much as the background. In the image it usually covers far less, and a
classifier with the wrong expectation paints it too wide. Nobody has to be asked how much less: the
unlabelled pixels tell. Their posteriors under the trained expectation give the likelihood of any other, and
expectation maximisation finds the likeliest one (Saerens, Latinne, Decaestecker: "Adjusting the outputs of a
classifier to new a priori probabilities", Neural Computation 14, 2002).

Not in the ICSS paper.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from icss_core.errors import InvalidParameterError
from icss_core.labels import BACKGROUND, IGNORE
from icss_core.updating.recall import recall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor

    from icss_core.clicks.click_set import ClickSet
    from icss_core.compute.precision import Precision
    from icss_core.methods import PrevalenceRule
    from icss_core.networks.segmenter import Segmenter, SegmenterOutput
    from icss_core.raster.source import Pixels, RasterSource
    from icss_core.updating.tiles import Tile, WorkingArea

_PIXELS = 2**18
"""Pixels that the expectation maximisation looks at, about."""


class SeenLogits(NamedTuple):
    """What a network says about an image, in a few rows."""

    pixels: Tensor
    """(n, N) float32, logits of pixels on a regular grid, labelled or not."""
    clicks: Tensor
    """(m, N) float32, logits of clicked pixels."""
    labels: Tensor
    """(m,) int64, their classes."""


def adapt_to_prevalence(
    network: Segmenter,
    source: RasterSource,
    area: WorkingArea,
    clicks: ClickSet,
    rule: PrevalenceRule,
    *,
    n_old: int,
    trained: Mapping[int, int],
    device: torch.device,
    precision: Precision,
    should_stop: Callable[[], bool] | None,
) -> None:
    """Shift the biases of a trained network's new classes, in place.

    Args:
        network: the updated network; left in eval mode.
        source: the image.
        area: its tiles: what is common there decides.
        clicks: the annotator's.
        rule: its numbers.
        n_old: classes of the memory network.
        trained: how often the training saw the background and each new class, by label; those that are
            missing count as once.
        device: where to compute.
        precision: in which type.
        should_stop: see `recall`.
    """
    outputs = recall(network, source, area, device=device, precision=precision, should_stop=should_stop)
    seen = _sample(outputs, area, clicks, device)
    ours = [BACKGROUND, *range(n_old, network.n_classes)]
    votes = torch.tensor([float(max(trained.get(label, 1), 1)) for label in ours])
    shift = prevalence_shift(seen, votes, n_old=n_old, keep=rule.keep, iterations=rule.iterations)
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
        weights: (n,) not negative, how much each row counts; None: all alike.
        iterations: most iterations; stops when no frequency moves by more than a millionth.

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
    found = pi
    for _ in range(iterations):
        joint = rows * found
        share = joint / joint.sum(dim=1, keepdim=True).clamp(min=1e-300)
        before, found = found, (counts[:, None] * share).sum(dim=0) / counts.sum()
        if float((found - before).abs().max()) < 1e-6:
            break
    return found


def prevalence_shift(
    seen: SeenLogits, trained: Tensor, *, n_old: int, keep: float, iterations: int = 100
) -> Tensor:
    """What to add to the biases of the new classes.

    Only the background and the new classes are weighed against each other, each pixel by the probability that
    it is one of them: what the old classes of interest cover is the memory network's to say.

    Args:
        seen: logits of the trained network; old classes first.
        trained: (1 + K,) positive, how often the training saw the background and each new class.
        n_old: number of old classes.
        keep: least share of the clicks that the network gets right which each shift must leave right.
        iterations: of the expectation maximisation.

    Returns:
        (K,) float64.
    """
    ours = [BACKGROUND, *range(n_old, seen.pixels.shape[1])]
    probabilities = seen.pixels.double().softmax(dim=1)[:, ours]
    mass = probabilities.sum(dim=1)
    posteriors = probabilities / mass.clamp(min=1e-300)[:, None]
    found = estimate_prevalence(posteriors, trained, weights=mass, iterations=iterations)
    ratio = (found / trained.double()).clamp(min=1e-12)
    shift = (ratio[1:] / ratio[0]).log()
    return torch.stack([_kept(float(value), seen, n_old + i, keep) for i, value in enumerate(shift)])


def _sample(
    outputs: Iterable[tuple[int, Tile, Pixels, SegmenterOutput]],
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


def _kept(shift: float, seen: SeenLogits, label: int, keep: float) -> Tensor:
    """The shift of a class, no larger than the clicks allow; 0 where no click says anything."""
    logits = seen.clicks.double()
    right = logits.argmax(dim=1) == seen.labels
    mine = seen.labels == label
    if shift < 0:
        logits, chosen = logits[right & mine], right & mine
        others = logits.clone()
        others[:, label] = -math.inf
        margins = logits[:, label] - others.max(dim=1).values
    else:
        chosen = right & ~mine
        logits = logits[chosen]
        margins = logits.gather(1, seen.labels[chosen][:, None])[:, 0] - logits[:, label]
    if not len(margins):
        return torch.zeros((), dtype=torch.float64)
    # the click at the bound would be a tie; a hair less leaves it right
    bound = float(torch.quantile(margins, 1 - keep, interpolation="lower")) * (1 - 1e-6)
    return torch.tensor(math.copysign(min(abs(shift), bound), shift), dtype=torch.float64)
