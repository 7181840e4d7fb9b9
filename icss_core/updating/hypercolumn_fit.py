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
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from icss_core.continual.replay import Replay
    from icss_core.methods import HypercolumnRule
    from icss_core.networks.segmenter import Segmenter
    from icss_core.updating.column_samples import ColumnSamples


def fit_hypercolumn(
    network: Segmenter,
    samples: ColumnSamples,
    rule: HypercolumnRule,
    *,
    replay: Replay | None = None,
    seed: int = 0,
) -> float:
    r"""Fit the hypercolumn layer of a network and its classifier, in place.

    .. math:: \min \sum_e \sum_c v_c L_{ec} / \sum_c v_c

    with L_ec the mean cross-entropy of member e over its draw of the n_c labelled pixels of class c, and
    votes v_c = sqrt(n_c): a class with few labels counts for less than one with many, and is not drowned.
    Samples of earlier images count as classes of their own; what was background there may be background or a
    class that was added since, as in MiB's cross-entropy.

    Args:
        network: with a layer of `rule.units` units (`Segmenter.with_hypercolumn`).
        samples: its hypercolumns at labelled pixels.
        rule: numbers of the fit.
        replay: hypercolumns of earlier images that are learnt from too.
        seed: of members, draws and dropout.

    Returns:
        The mean cross-entropy of the members in the last iteration.
    """
    device, n_classes = samples.columns.device, network.n_classes
    generator = torch.Generator().manual_seed(seed)
    columns = samples.columns
    possible = functional.one_hot(samples.classes, n_classes).bool()
    weights = _draws(samples.classes, n_classes, rule.members, generator)
    if replay is not None and len(replay.classes):
        columns = torch.cat([columns, replay.columns.to(columns)])
        possible = torch.cat([possible, replay.possible(n_classes).to(device)])
        more = _draws(replay.classes, n_classes, rule.members, generator)
        weights = torch.cat([weights, more], dim=1)
    weights = (weights / weights.sum(dim=1, keepdim=True)).to(device)
    inputs = ((columns - samples.mean) / samples.std)[None]
    members = _Members(inputs.shape[2], rule, n_classes, generator).to(device)
    optimiser = torch.optim.AdamW(members.parameters(), lr=rule.lr, weight_decay=rule.weight_decay)
    loss = torch.zeros(())
    for iteration in range(rule.iterations):
        for group in optimiser.param_groups:
            group["lr"] = rule.lr * 0.5 * (1 + math.cos(math.pi * iteration / rule.iterations))
        kept = torch.rand(rule.members, 1, inputs.shape[2], generator=generator) >= rule.dropout
        logits = members(inputs * (kept.to(inputs) / (1 - rule.dropout)).to(device))
        # one possible class: cross-entropy; several: of their sum
        losses = logits.logsumexp(2) - logits.masked_fill(~possible, -math.inf).logsumexp(2)
        loss = (weights * losses).sum()
        optimiser.zero_grad()
        loss.backward()
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
