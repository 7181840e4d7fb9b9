r"""Fitting a hypercolumn layer and the classifier behind it to the labelled pixels, on frozen features.

A few hundred labelled pixels are few for a layer over some hundred features. So the layer is made of members,
small networks of one hidden layer that learn apart: each draws its own labelled pixels with replacement
(bagging: Breiman, Machine Learning 24, 1996) and drops half of its inputs at random in each iteration
(Srivastava et al., JMLR 15, 2014). Their logits are averaged, which makes them one hidden layer with one
linear classifier behind it: what the network then has.

No weight below the layer changes: what the encoder knows cannot be forgotten, and the fit takes seconds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from icss_core.losses import labelled_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.methods import HypercolumnRule
    from icss_core.networks.segmenter import Segmenter


class ColumnSamples(NamedTuple):
    """Hypercolumns of labelled pixels, and statistics of the whole working area."""

    columns: Tensor
    """(m, D) float32, the features of all levels side by side."""
    classes: Tensor
    """(m,) int64."""
    mean: Tensor
    """(D,) of all pixels, labelled or not."""
    std: Tensor
    """(D,), positive."""


class ColumnCollector:
    """Gathers the hypercolumns of labelled pixels, tile by tile."""

    def __init__(self) -> None:
        self._columns: list[Tensor] = []
        self._classes: list[Tensor] = []
        self._sums: Tensor | None = None
        self._squares: Tensor | None = None
        self._number = 0

    def add(self, features: Sequence[Tensor], labels: Tensor) -> None:
        """Look at a tile.

        Args:
            features: maps (1, C, h, w) of the network on the tile, in the order of the layer.
            labels: (1, H, W) int64, 255 = unlabelled.
        """
        # inference tensors cannot enter autograd later; copies can
        rows = [labelled_features(one.clone(), labels, assignment="bilinear") for one in features]
        self._columns.append(torch.cat([one.features for one in rows], dim=1))
        self._classes.append(rows[0].classes)
        # on a coarse grid: means and variances of a few thousand places a tile are exact enough
        coarse = [functional.adaptive_avg_pool2d(one.float(), _GRID).flatten(2)[0] for one in features]
        places = torch.cat(coarse).double()
        sums, squares = places.sum(dim=1), places.square().sum(dim=1)
        self._sums = sums if self._sums is None else self._sums + sums
        self._squares = squares if self._squares is None else self._squares + squares
        self._number += places.shape[1]

    def samples(self) -> ColumnSamples:
        """All that was gathered; at least one tile must have been added."""
        assert self._sums is not None  # noqa: S101 - a working area has at least one tile
        assert self._squares is not None  # noqa: S101
        mean = self._sums / self._number
        variance = (self._squares / self._number - mean.square()).clamp(min=0)
        # a channel that never changes is only shifted
        std = torch.where(variance > 1e-12, variance.sqrt(), torch.ones_like(variance))
        return ColumnSamples(
            torch.cat(self._columns).float(), torch.cat(self._classes), mean.float(), std.float()
        )


_GRID = 64
"""Places along a side of a tile at which features are looked at for their mean and variance."""


def fit_hypercolumn(
    network: Segmenter, samples: ColumnSamples, rule: HypercolumnRule, *, seed: int = 0
) -> float:
    r"""Fit the hypercolumn layer of a network and its classifier, in place.

    .. math:: \min \sum_e \sum_c v_c L_{ec} / \sum_c v_c

    with L_ec the mean cross-entropy of member e over its draw of the n_c labelled pixels of class c, and
    votes v_c = sqrt(n_c): a class with few labels counts for less than one with many, and is not drowned.

    Args:
        network: with a layer of `rule.units` units (`Segmenter.with_hypercolumn`).
        samples: its hypercolumns at labelled pixels.
        rule: numbers of the fit.
        seed: of members, draws and dropout.

    Returns:
        The mean cross-entropy of the members in the last iteration.
    """
    layer, classifier = network.hypercolumn, network.classifier
    assert layer is not None  # noqa: S101 - the caller has inserted it
    device = samples.columns.device
    generator = torch.Generator().manual_seed(seed)
    inputs = ((samples.columns - samples.mean) / samples.std)[None]
    weights = _draws(samples.classes, classifier.out_channels, rule.members, generator).to(device)
    members = _Members(inputs.shape[2], rule, classifier.out_channels, generator).to(device)
    targets = samples.classes.repeat(rule.members)
    optimiser = torch.optim.AdamW(members.parameters(), lr=rule.lr, weight_decay=rule.weight_decay)
    loss = torch.zeros(())
    for iteration in range(rule.iterations):
        for group in optimiser.param_groups:
            group["lr"] = rule.lr * 0.5 * (1 + math.cos(math.pi * iteration / rule.iterations))
        kept = torch.rand(rule.members, 1, inputs.shape[2], generator=generator) >= rule.dropout
        logits = members(inputs * (kept.to(inputs) / (1 - rule.dropout)).to(device))
        losses = functional.cross_entropy(logits.flatten(0, 1), targets, reduction="none")
        loss = (weights * losses.view(rule.members, -1)).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own stub
        optimiser.step()
    members.write_to(network, samples)
    return float(loss.detach()) / rule.members


class _Members(nn.Module):
    """The members: hidden layers and classifiers, each with an axis of members in front."""

    def __init__(self, width: int, rule: HypercolumnRule, n_classes: int, generator: torch.Generator) -> None:
        super().__init__()
        members, hidden = rule.members, rule.units // rule.members
        shapes = ((width, hidden, 1.0), (hidden, n_classes, 0.1))
        self.hidden, self.out = (
            nn.Parameter(torch.randn(members, a, b, generator=generator) * scale / math.sqrt(a))
            for a, b, scale in shapes
        )
        self.hidden_bias = nn.Parameter(torch.zeros(members, 1, hidden))
        self.out_bias = nn.Parameter(torch.zeros(members, 1, n_classes))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (members, m, N) of inputs (members, m, D)."""
        return functional.gelu(inputs @ self.hidden + self.hidden_bias) @ self.out + self.out_bias

    def write_to(self, network: Segmenter, samples: ColumnSamples) -> None:
        """Give the network what was learnt: scaling of the inputs and mean over members are folded in."""
        layer, classifier = network.hypercolumn, network.classifier
        assert layer is not None  # noqa: S101 - the caller has inserted it
        members, width, hidden = self.hidden.shape
        with torch.no_grad():
            units = self.hidden.permute(0, 2, 1).reshape(members * hidden, width) / samples.std
            layer.bias.copy_(self.hidden_bias.flatten() - units @ samples.mean)
            parts = torch.split(units, list(layer.channels), dim=1)
            for projection, part in zip(layer.projections, parts, strict=True):
                projection.get_parameter("weight").copy_(part[:, :, None, None])
            rows = self.out.permute(2, 0, 1).reshape(-1, members * hidden) / members
            classifier.weight.copy_(rows[:, :, None, None])
            assert classifier.bias is not None  # noqa: S101 - every head of ours has one
            classifier.bias.copy_(self.out_bias.mean(dim=0)[0])


def _draws(classes: Tensor, n_classes: int, members: int, generator: torch.Generator) -> Tensor:
    """(members, m) weights of the labelled pixels: a draw with replacement within each class, times votes."""
    counts = torch.bincount(classes, minlength=n_classes)
    votes = counts.float().sqrt()
    weights = torch.zeros(members, len(classes))
    for label in counts.nonzero().flatten().tolist():
        places = (classes.cpu() == label).nonzero().flatten()
        drawn = torch.randint(len(places), (members, len(places)), generator=generator)
        amounts = torch.zeros(members, len(places)).scatter_add_(1, drawn, torch.ones(drawn.shape))
        weights[:, places] = amounts / len(places) * float(votes[label] / votes.sum())
    return weights
