"""The penalty of EWC, PI and RW on changing weights that are important for old classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import torch

from icss_core.errors import InvalidParameterError
from icss_core.regularisation.importance import (
    FISHER,
    SCORE,
    Fisher,
    Gatherer,
    ImportanceKind,
    PathIntegral,
    RiemannianWalk,
    grown,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class WeightAnchor:
    """Penalises the distance of weights from the memory network's, and gathers importances for the next task.

    The penalty is quadratic, so its gradient is computed directly and added after the backward pass.
    Importances are gathered before that, from the gradients of the data's loss only, as in the published
    code.

    Args:
        kind: what is gathered.
        weight: lambda of the penalty.
        anchors: the memory network's weights by name; of a weight that has grown since, the first rows.
            Empty in the first task, which only gathers.
        importances: what the memory network's training gathered, by part and weight.
        start: the weights the task starts from.
        normalise: scale each part to [0, 1] in each tensor before it weighs anything.
        decay: see `Fisher`.
        every: see `RiemannianWalk`.

    Raises:
        InvalidParameterError: `kind` is none of `ImportanceKind`, or an anchor has no importance.
    """

    def __init__(
        self,
        kind: ImportanceKind,
        *,
        weight: float,
        anchors: Mapping[str, Tensor],
        importances: Mapping[str, Mapping[str, Tensor]],
        start: Mapping[str, Tensor],
        normalise: bool = True,
        decay: float = 0.9,
        every: int = 10,
    ) -> None:
        if kind not in get_args(ImportanceKind):
            raise InvalidParameterError(f"unknown importance {kind!r}; one of {get_args(ImportanceKind)}")
        self._weight = weight
        self._anchors = {name: one.to(start[name].device) for name, one in anchors.items()}
        parts = {"ewc": (FISHER,), "pi": (SCORE,), "rw": (FISHER, SCORE)}[kind]
        missing = [
            (part, name) for part in parts for name in anchors if name not in importances.get(part, {})
        ]
        if missing:
            raise InvalidParameterError(
                f"the memory network's training gathered no importances for {kind!r} ({missing[0]} and "
                f"{len(missing) - 1} more): train it with the same method"
            )
        self._held = {
            name: torch.stack([_scaled(importances[part][name], normalise) for part in parts])
            .sum(dim=0)
            .to(start[name].device)
            for name in anchors
        }
        fisher, score = importances.get(FISHER, {}), importances.get(SCORE, {})
        # for weights of the memory network, the path starts at its values
        merged = {name: grown(anchors.get(name), _wide(one), rest=_wide(one)) for name, one in start.items()}
        self.gatherer = _gatherer(kind, merged, fisher, score, decay=decay, every=every)

    def add_gradients(self, weights: Mapping[str, Tensor]) -> Tensor:
        """After the backward pass of the data's loss: gather importances, then add the penalty's gradients.

        Args:
            weights: the network's parameters by name, with their gradients; those without are skipped.

        Returns:
            The weighted penalty: scalar, not negative.
        """
        moved = {name: _wide(one.detach()) for name, one in weights.items() if one.grad is not None}
        gradients = {name: _wide(_gradient(weights[name])) for name in moved}
        self.gatherer.observe(moved, gradients)
        device = next(iter(weights.values())).device
        penalty = torch.zeros((), device=device)
        for name, anchor in self._anchors.items():
            if name not in moved:
                continue
            rows = slice(len(anchor))
            held, apart = self._held[name], moved[name][rows] - anchor
            penalty = penalty + (held * apart.square()).sum()
            _gradient(weights[name])[rows] += 2 * self._weight * held * apart
        return self._weight * penalty


def _gatherer(
    kind: ImportanceKind,
    start: Mapping[str, Tensor],
    fisher: Mapping[str, Tensor],
    score: Mapping[str, Tensor],
    *,
    decay: float,
    every: int,
) -> Gatherer:
    match kind:
        case "ewc":
            return Fisher(fisher, decay=decay)
        case "pi":
            return PathIntegral(start, score)
        case "rw":
            return RiemannianWalk(fisher, score, decay=decay, every=every)


def _gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None  # noqa: S101 - chosen by that
    return weight.grad


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _scaled(values: Tensor, normalise: bool) -> Tensor:
    if not normalise:
        return _wide(values)
    low, high = torch.aminmax(_wide(values))
    return (_wide(values) - low) / (high - low + 1e-8)
