"""What a training says about itself in its log."""

from __future__ import annotations

from pydantic import Field

from services.log_line import LogLine


class TrainingLine(LogLine):
    """How far a training is.

    iteration, iterations: done, and of the whole training. seconds: of training so far. loss and
    crops_per_second: of the last iteration. scores: of the last validation, IoU under the names of classes
    (`val_iou/road`). saved: a checkpoint was written.
    """

    WORD = "training"

    iteration: int
    iterations: int
    seconds: float
    loss: float | None = None
    crops_per_second: float | None = None
    scores: dict[str, float] = Field(default_factory=dict)
    saved: bool = False


class RegisteredLine(LogLine):
    """The version under which the network was registered."""

    WORD = "registered"

    model: str
    version: int
