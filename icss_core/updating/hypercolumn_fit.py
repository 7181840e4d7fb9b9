r"""Fitting the new units of a network's hypercolumn head to labelled pixels, on frozen features.

The units learn what has to be added to the network's logits, not the logits: where they say nothing, the
network decides as before, at full resolution.

A few hundred labelled pixels are few for units over some hundred features. So the units are those of members,
small networks of one hidden layer that learn apart: each draws its own labelled pixels with replacement
(bagging: Breiman, Machine Learning 24, 1996) and drops half of its inputs at random in each iteration
(Srivastava et al., JMLR 15, 2014). Their outputs are averaged, which makes them one hidden layer with one
linear classifier behind it: what the head then has.

No weight below the head changes: what the encoder knows cannot be forgotten, and the fit takes seconds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from icss_core.compute.precision import Precision, resolve_precision
from icss_core.labels import BACKGROUND

if TYPE_CHECKING:
    from icss_core.continual.replay import Replay
    from icss_core.methods import HypercolumnRule
    from icss_core.networks.hypercolumn import HypercolumnHead
    from icss_core.networks.segmenter import Segmenter
    from icss_core.updating.column_samples import ColumnSamples


class FittedHead(NamedTuple):
    """How well labelled pixels are explained."""

    loss: float
    """What is minimised, over the number of members, as the last iteration's labels estimate it."""
    held_out: Tensor
    """(m,) int64, what the members say of each sample that did not learn from it (their out-of-bag estimate:
    Breiman); -1 where all did."""


def fit_hypercolumn(
    network: Segmenter,
    samples: ColumnSamples,
    rule: HypercolumnRule,
    *,
    replay: Replay | None = None,
    precision: Precision = "float32",
    seed: int = 0,
) -> FittedHead:
    r"""Fit the last units of a network's hypercolumn head, in place.

    .. math:: \min \sum_e \sum_c v_c L_{ec} / \sum_c v_c

    with L_ec the mean cross-entropy of the network's logits and those of member e together, and `shrinkage`
    times the mean square of the latter, over its draw of the n_c labelled pixels of class c, and votes v_c =
    sqrt(n_c): a class with few labels counts for less than one with many, and is not drowned. Samples of
    earlier images count as classes of their own; what was background there may be background or a class that
    was added since, as in MiB's cross-entropy.

    An iteration sees `rule.batch` labelled pixels, drawn anew, each counted for all that it stands for.

    To a class without labels is added what is added to the background, so that the network tells the two
    apart as before.

    Args:
        network: whose last `rule.units` units count for nothing yet (`Segmenter.with_hypercolumn`).
        samples: its hypercolumns and logits at labelled pixels.
        rule: numbers of the fit.
        replay: samples of earlier images that are learnt from too.
        precision: of the product of features and weights, where it is bfloat16 or means that.
        seed: of members, draws and dropout.

    Returns:
        How well the samples are explained.
    """
    head = network.hypercolumn
    assert head is not None  # noqa: S101 - the caller has made it
    device, n_classes = samples.columns.device, network.n_classes
    generator = torch.Generator().manual_seed(seed)
    columns, before = samples.columns, samples.logits
    possible = functional.one_hot(samples.classes, n_classes).bool()
    shown = possible.any(dim=0)
    weights = _draws(samples.classes, n_classes, rule.members, generator)
    unseen = (weights == 0).to(device)
    if replay is not None and len(replay.classes):
        columns = torch.cat([columns, replay.columns.to(columns)])
        before = torch.cat([before, replay.logits_of(network).to(before)])
        possible = torch.cat([possible, replay.possible(n_classes).to(device)])
        # what may be of a class is no label of it
        shown |= torch.isin(torch.arange(n_classes), replay.classes).to(device)
        more = _draws(replay.classes, n_classes, rule.members, generator)
        weights = torch.cat([weights, more], dim=1)
    weights = (weights / weights.sum(dim=1, keepdim=True)).to(device)
    batches = _Batches(possible, rule.batch, generator)
    inputs = (columns - samples.mean) / samples.std
    # the gradients of a float16 product may vanish; bfloat16 has float32's range
    narrow = inputs.to(torch.bfloat16) if resolve_precision(precision, device) == torch.bfloat16 else inputs
    sources = torch.arange(n_classes, device=device)
    sources[~shown] = BACKGROUND
    members = _Members(inputs.shape[1], rule, sources, generator).to(device)
    optimiser = torch.optim.AdamW(members.parameters(), lr=rule.lr, weight_decay=rule.weight_decay)
    loss = torch.zeros(())
    for iteration in range(rule.iterations):
        for group in optimiser.param_groups:
            group["lr"] = rule.lr * 0.5 * (1 + math.cos(math.pi * iteration / rule.iterations))
        kept = torch.rand(rule.members, inputs.shape[1], generator=generator) >= rule.dropout
        batch = batches.draw()
        added = members(narrow[batch.rows], (kept.float() / (1 - rule.dropout)).to(device))
        logits = before[batch.rows] + added
        # one possible class: cross-entropy; several: of their sum
        losses = logits.logsumexp(2) - logits.masked_fill(~possible[batch.rows], -math.inf).logsumexp(2)
        penalised = losses + rule.shrinkage * added.square().mean(dim=2)
        loss = (weights[:, batch.rows] * batch.scale * penalised).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    members.write_to(head, samples)
    with torch.no_grad():
        added = members(inputs[: len(samples.classes)])
    held_out = (unseen[:, :, None] * added).sum(dim=0) / unseen.sum(dim=0)[:, None].clamp(min=1)
    return FittedHead(
        float(loss.detach()) / rule.members,
        torch.where(unseen.any(dim=0), (samples.logits + held_out).argmax(dim=1), -1),
    )


class _Members(nn.Module):
    """The members: hidden layers and classifiers, each with an axis of members in front."""

    sources: Tensor

    def __init__(
        self, width: int, rule: HypercolumnRule, sources: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__()
        members, hidden = rule.members, rule.units // rule.members
        shapes = ((width, hidden, 1.0), (hidden, len(sources), 0.1))
        self.hidden, self.out = (
            nn.Parameter(torch.randn(members, a, b, generator=generator) * scale / math.sqrt(a))
            for a, b, scale in shapes
        )
        self.hidden_bias = nn.Parameter(torch.zeros(members, 1, hidden))
        self.out_bias = nn.Parameter(torch.zeros(members, 1, len(sources)))
        self.register_buffer("sources", sources)

    def forward(self, inputs: Tensor, scale: Tensor | None = None) -> Tensor:
        """What to add to the logits, (members, m, N), of inputs (m, D) scaled by (members, D)."""
        members, width, hidden = self.hidden.shape
        # scaling the weights is scaling the inputs, and leaves one product for all members
        weights = self.hidden if scale is None else self.hidden * scale[:, :, None]
        flat = inputs @ weights.transpose(0, 1).reshape(width, members * hidden).to(inputs.dtype)
        units = functional.gelu(flat.float().view(-1, members, hidden).transpose(0, 1) + self.hidden_bias)
        return (units @ self.out + self.out_bias)[:, :, self.sources]

    def write_to(self, head: HypercolumnHead, samples: ColumnSamples) -> None:
        """Give the head what was learnt: scaling of the inputs and mean over members are folded in."""
        members, width, hidden = self.hidden.shape
        new = slice(head.units - members * hidden, head.units)
        with torch.no_grad():
            units = self.hidden.permute(0, 2, 1).reshape(members * hidden, width) / samples.std
            head.bias[new] = self.hidden_bias.flatten() - units @ samples.mean
            parts = torch.split(units, list(head.channels), dim=1)
            for projection, part in zip(head.projections, parts, strict=True):
                projection.get_parameter("weight")[new] = part[:, :, None, None]
            rows = self.out.permute(2, 0, 1).reshape(-1, members * hidden)[self.sources] / members
            head.classifier.weight[:, new] = rows[:, :, None, None]
            head.classifier.get_parameter("bias").add_(self.out_bias.mean(dim=0)[0, self.sources])


class _Batch(NamedTuple):
    rows: Tensor
    """(b,) int64, numbers of samples."""
    scale: Tensor
    """(b,) how many samples of its kind each stands for."""


class _Batches:
    """Samples for each iteration: of every kind as many as of the others, or all that there are.

    A kind is a set of possible classes. So a class with fewer labels than its share is seen whole each time,
    however many the others have. One sample of each kind at least, even where that makes more than `size`.
    """

    def __init__(self, possible: Tensor, size: int, generator: torch.Generator) -> None:
        self._generator = generator
        self._device = possible.device
        kinds = torch.unique(possible.cpu(), dim=0, return_inverse=True)[1]
        rows = [(kinds == kind).nonzero().flatten() for kind in range(int(kinds.max()) + 1)]
        self._rows = sorted(rows, key=len)
        self._size = size

    def draw(self) -> _Batch:
        left, rows, scales = self._size, [], []
        for position, own in enumerate(self._rows):
            # what the rarer kinds left over is for the others
            most = max(left // (len(self._rows) - position), 1)
            drawn = (
                own[torch.randperm(len(own), generator=self._generator)[:most]] if len(own) > most else own
            )
            left -= len(drawn)
            rows.append(drawn)
            scales.append(torch.full((len(drawn),), len(own) / len(drawn)))
        return _Batch(torch.cat(rows).to(self._device), torch.cat(scales).to(self._device))


def _draws(classes: Tensor, n_classes: int, members: int, generator: torch.Generator) -> Tensor:
    """(members, m) weights of labelled pixels: a draw with replacement within each class, times its votes."""
    classes = classes.cpu()
    counts = torch.bincount(classes, minlength=n_classes)
    weights = torch.zeros(members, len(classes))
    for label in counts.nonzero().flatten().tolist():
        places = (classes == label).nonzero().flatten()
        drawn = torch.randint(len(places), (members, len(places)), generator=generator)
        amounts = torch.zeros(members, len(places)).scatter_add_(1, drawn, torch.ones(drawn.shape))
        weights[:, places] = amounts / len(places) * math.sqrt(len(places))
    return weights
