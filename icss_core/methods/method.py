"""What every method has, whatever it learns from: a head, a fit, a cross-entropy and regularisers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from icss_core.losses import Reduction
from icss_core.networks.head import HeadInit
from icss_core.training import Optimisation


class CrossEntropyRule(BaseModel):
    """How the labels of a batch are learnt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["mean", "balanced", "unbiased", "sigmoid", "completed"] = "mean"
    """mean: every labelled pixel alike; balanced: every class has a vote (ours); unbiased: the background may
    be any old class (MiB); sigmoid: a yes or no for each class (LwF-MC); completed: the memory network says
    what the background is where it is sure (PLOP)."""
    cap: int = Field(default=16, ge=1)
    """Of balanced: labelled pixels of a class in a batch from which its vote is full."""
    over: Reduction = "labelled"
    """Of mean, unbiased and sigmoid: which pixels the mean is taken over."""
    weight: float = Field(default=1.0, ge=0)
    """Factor on it; 0 leaves the labels unused."""
    unlabelled: Literal["ignored", "background"] = "ignored"
    """What a pixel without label counts as; background takes pixels without data for background too."""


class Method(BaseModel):
    """The part of a recipe that interactive and tasks on scenes share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    method: str
    """Name of the recipe in tables; what it does is in the numbers below."""
    summary: str = ""
    """One sentence: whose numbers these are."""
    warning: str | None = None
    """Said to whoever uses the preset, where following a paper's letter is known to go wrong."""
    head_init: HeadInit = "background"
    optimisation: Optimisation = Optimisation()
    cross_entropy: CrossEntropyRule = CrossEntropyRule()
    regularisers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Numbers of each regulariser by its name, checked by it; any can be combined."""
