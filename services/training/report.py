"""What a worker reports to its job: iterations since the last report, validations and checkpoints."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class IterationPoint(BaseModel):
    """One iteration of one worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iteration: int
    """From 1."""
    loss: float
    terms: dict[str, float]
    """Of the loss, weighted."""
    lr: float
    seconds: float
    """Wall time, waiting for its batch included."""
    input_wait: float
    """Seconds of it spent waiting."""
    samples: int
    """Crops in the batch."""


class WorkerReport(BaseModel):
    """A report; every worker sends one at the same iteration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iteration: int
    """Done so far."""
    iterations: int
    """In all, which a time budget may have made fewer than were asked for."""
    seconds: float
    """Trained so far, over all starts."""
    points: list[IterationPoint] = []
    resumed_at: int | None = None
    """Iteration of the checkpoint that the training goes on from; in the first report after a start only."""
    validation: dict[str, float] | None = None
    """IoU by class name, NaN where the class does not occur."""
    checkpoint: bool = False
    """Whether a checkpoint of this iteration is in the store."""
