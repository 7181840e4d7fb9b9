"""Every number of the training loop itself: optimiser, learning rate and its schedule, length, precision."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from icss_core.compute.precision import Precision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.training.learner import ParameterGroup


class Optimisation(BaseModel):
    """How a network is fitted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimiser: Literal["adam", "sgd"] = "adam"
    lr: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of SGD."""
    nesterov: bool = False
    schedule: Literal["constant", "poly", "multistep", "cosine"] = "constant"
    """poly: (1 - it / all)^0.9; multistep: x 0.1 at each milestone; cosine: half a cosine down to 0."""
    milestones: tuple[float, ...] = ()
    """Of multistep, as fractions of all iterations."""
    warmup: int = Field(default=0, ge=0)
    """Iterations over which the learning rate rises linearly."""
    iterations: int = Field(default=300, ge=0)
    parts: int = Field(default=1, ge=1, le=256)
    """Parts of a batch, computed one after another, their gradients added up by their fraction of the crops:
    a large batch on a small GPU. Batch norms in training see a part at a time, and so does a mean over
    labelled pixels, which is not the batch's where parts have more or fewer of them."""
    batch_norm: Literal["train", "statistics", "all"] = "train"
    """train: batch statistics; statistics: running ones, scale and shift learn; all: nothing changes."""
    average_last: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the last iterations over whose weights the result is averaged; 0 keeps the last weights."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Upper bound on the gradient's norm."""
    precision: Precision = "auto"

    def lr_factor(self, iteration: int) -> float:
        """What the learning rate is multiplied by in an iteration, counted from 0."""
        done = iteration / max(self.iterations, 1)
        factor = 1.0
        match self.schedule:
            case "poly":
                factor = (1 - done) ** 0.9
            case "multistep":
                factor = 0.1 ** sum(done >= milestone for milestone in self.milestones)
            case "cosine":
                factor = 0.5 * (1 + math.cos(math.pi * done))
            case "constant":
                pass
        if iteration < self.warmup:
            factor *= (iteration + 1) / (self.warmup + 1)
        return factor


def build_optimiser(groups: Sequence[ParameterGroup], optimisation: Optimisation) -> torch.optim.Optimizer:
    """The optimiser of a training; `lr` of its groups is set anew in each iteration."""
    parameters = [{"params": list(group.parameters)} for group in groups]
    if optimisation.optimiser == "adam":
        return torch.optim.Adam(
            parameters, lr=optimisation.lr, weight_decay=optimisation.weight_decay, fused=True
        )
    return torch.optim.SGD(
        parameters,
        lr=optimisation.lr,
        momentum=optimisation.momentum,
        nesterov=optimisation.nesterov,
        weight_decay=optimisation.weight_decay,
        fused=True,
    )
