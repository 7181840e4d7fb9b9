"""The fields that presets of updates and of tasks on scenes have in common."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from icss_core.losses import Reduction
from icss_core.networks.head import HeadInit
from icss_core.training import Optimisation


class CrossEntropyRule(BaseModel):
    """Which cross-entropy is used for the labels of a batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["mean", "balanced", "unbiased", "sigmoid", "completed"] = "mean"
    """mean: all labelled pixels weigh the same; balanced: all classes weigh the same (ours); unbiased: the
    background may be any old class (MiB); sigmoid: an independent decision for each class (LwF-MC);
    completed: confident predictions of the memory network replace the label background (PLOP)."""
    cap: int = Field(default=16, ge=1)
    """For balanced: number of labelled pixels of a class in a batch from which it has its full weight."""
    over: Reduction = "labelled"
    """For mean, unbiased and sigmoid: the pixels over which the mean is taken."""
    weight: float = Field(default=1.0, ge=0)
    """Factor on the cross-entropy; 0 leaves the labels unused."""
    unlabelled: Literal["ignored", "background"] = "ignored"
    """What a pixel without label counts as; background takes pixels without data for background too."""


class Method(BaseModel):
    """What presets of updates from clicks and of tasks on scenes have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    method: str
    """Name of the method in tables; its behaviour follows from the numbers below."""
    summary: str = ""
    """One sentence on the method and on where its numbers come from."""
    warning: str | None = None
    """Shown to users of the preset, if it follows a paper exactly and is known to work badly."""
    head_init: HeadInit = "background"
    optimisation: Optimisation = Optimisation()
    cross_entropy: CrossEntropyRule = CrossEntropyRule()
    regularisers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Numbers of each regulariser by its name, checked by it; any can be combined."""
