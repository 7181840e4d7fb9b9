"""Importance of each weight for what a network has learnt, measured during training (EWC, PI and RW).

EWC, path integral (PI) and Riemannian walk (RW) measure importance differently; all three then penalise
changes of a weight in proportion to it (`weight_anchor`). The formulas are those of the published code of MiB
(Cermelli et al., arXiv 2002.00718), which differs from the papers: the Fisher information is a running mean
that starts at one, and importances are scaled to [0, 1] in each tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

ImportanceKind = Literal["ewc", "pi", "rw"]
IMPORTANCES_ARTEFACT: Final = "importances"
"""Name under which a model version keeps what the training of its weights gathered."""
FISHER, SCORE = "fisher", "score"
"""Parts of an importance: that of EWC, and that of PI; RW has both."""


class Gatherer(Protocol):
    """Measures importances during a training. Tensors are by name of weight, in float32 or wider."""

    def observe(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """See one iteration: the weights before it, and the gradients of the data's loss alone."""

    def result(self, weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Importances by part, given the weights at the end; not negative."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""


class Fisher:
    """EWC: F <- decay g^2 + (1 - decay) F (Kirkpatrick et al., arXiv 1612.00796).

    Args:
        before: Fisher information at the end of earlier tasks; new weights start at one.
        decay: weight of the newest gradient.
    """

    def __init__(self, before: Mapping[str, Tensor], *, decay: float = 0.9) -> None:
        self._decay = decay
        self._before = dict(before)
        self.values: dict[str, Tensor] = {}

    def observe(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """See `Gatherer`."""
        for name, gradient in gradients.items():
            if name not in self.values:
                self.values[name] = self._first(name, weights[name])
            self.values[name].mul_(1 - self._decay).addcmul_(gradient, gradient, value=self._decay)

    def result(self, weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """See `Gatherer`."""
        return {
            FISHER: {
                name: self.values[name] if name in self.values else self._first(name, one)
                for name, one in weights.items()
            }
        }

    def _first(self, name: str, weight: Tensor) -> Tensor:
        return grown(self._before.get(name), weight, fill=1.0)

    def state_dict(self) -> dict[str, Any]:
        """See `Gatherer`."""
        return {"values": dict(self.values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Gatherer`."""
        self.values = dict(state["values"])


class PathIntegral:
    """PI: the part of the loss's decrease that is due to each weight (Zenke et al., arXiv 1703.04200).

    delta += g_t (w_{t-1} - w_t) from the second iteration on; the importance is
    max(0, delta / ((w_end - w_start)^2 + 1e-20)) plus that of the tasks before.

    Args:
        start: weights before the first iteration; the memory network's own for those that it has.
        before: importances of earlier tasks.
    """

    def __init__(self, start: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> None:
        self._start = {name: one.clone() for name, one in start.items()}
        self._before = dict(before)
        self._last: dict[str, Tensor] = {}
        self._delta = {name: torch.zeros_like(one) for name, one in start.items()}

    def observe(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """See `Gatherer`."""
        for name, gradient in gradients.items():
            if name in self._last:
                self._delta[name].addcmul_(gradient, self._last[name] - weights[name])
            self._last[name] = weights[name].clone()

    def result(self, weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """See `Gatherer`."""
        scores = {}
        for name, one in weights.items():
            way = (one - self._start[name]).square() + 1e-20
            own = (self._delta[name] / way).clamp(min=0)
            scores[name] = own + grown(self._before.get(name), one, fill=0.0)
        return {SCORE: scores}

    def state_dict(self) -> dict[str, Any]:
        """See `Gatherer`."""
        return {"start": self._start, "last": self._last, "delta": self._delta}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Gatherer`."""
        self._start, self._last, self._delta = dict(state["start"]), dict(state["last"]), dict(state["delta"])


class RiemannianWalk:
    """RW: Fisher information as in EWC, and a score of each weight along its path (arXiv 1801.10112).

    Every `every` iterations score += g (w_mark - w) / (F/2 (w - w_mark)^2 + 1e-8), with the weights w_mark at
    the previous update and F before this iteration; the importance is F and max(0, score), the latter
    averaged with that of the tasks before.

    Args:
        fisher: F at the end of earlier tasks.
        score: the score at the end of earlier tasks.
        decay: of F.
        every: iterations between two updates of the score.
    """

    def __init__(
        self,
        fisher: Mapping[str, Tensor],
        score: Mapping[str, Tensor],
        *,
        decay: float = 0.9,
        every: int = 10,
    ) -> None:
        self._fisher = Fisher(fisher, decay=decay)
        self._before = dict(score)
        self._every = every
        self._count = 0
        self._mark: dict[str, Tensor] = {}
        self._score: dict[str, Tensor] = {}

    def observe(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """See `Gatherer`."""
        if self._count % self._every == 0:
            for name, gradient in gradients.items():
                if name in self._mark:
                    way = self._mark[name] - weights[name]
                    fisher = self._fisher.values[name]
                    self._score[name] += gradient * way / (0.5 * fisher * way.square() + 1e-8)
                else:
                    self._score[name] = torch.zeros_like(gradient)
                self._mark[name] = weights[name].clone()
        self._count += 1
        self._fisher.observe(weights, gradients)

    def result(self, weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """See `Gatherer`."""
        score = {}
        for name, one in weights.items():
            own = self._score.get(name, torch.zeros_like(one)).clamp(min=0)
            if name in self._before:
                rows = slice(len(self._before[name]))
                own[rows] = 0.5 * own[rows] + 0.5 * self._before[name].to(own)
            score[name] = own
        return {**self._fisher.result(weights), SCORE: score}

    def state_dict(self) -> dict[str, Any]:
        """See `Gatherer`."""
        return {
            "fisher": self._fisher.state_dict(),
            "count": self._count,
            "mark": self._mark,
            "score": self._score,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Gatherer`."""
        self._fisher.load_state_dict(state["fisher"])
        self._count, self._mark, self._score = int(state["count"]), dict(state["mark"]), dict(state["score"])


def grown(before: Tensor | None, like: Tensor, *, fill: float = 0.0, rest: Tensor | None = None) -> Tensor:
    """Values of the first rows from before, of the others `rest` or `fill`; shaped like `like`, a copy."""
    values = torch.full_like(like, fill) if rest is None else rest.detach().clone()
    if before is not None:
        values[: len(before)] = before.to(values)
    return values


def flat_importances(importances: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Importances by `part/weight`, as a model version keeps them."""
    return {f"{part}/{name}": one for part, tensors in importances.items() for name, one in tensors.items()}


def importances_of(flat: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The way back from `flat_importances`: by part and weight."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, one in flat.items():
        part, _, weight = key.partition("/")
        parts.setdefault(part, {})[weight] = one
    return parts
