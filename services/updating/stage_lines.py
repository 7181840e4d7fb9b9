"""What an update job says in its log of the stages beside the training, which take a while on many images."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Final

from services.log_line import LogLine

if TYPE_CHECKING:
    from icss_core.updating import UpdateProgress

_SECONDS_BETWEEN: Final = 5.0


class UpdateStage(LogLine):
    """How far a stage is.

    stage: memory, head or report. step, steps: done and in all, tiles but for the head. seconds_left: of this
    stage, where it can be told.
    """

    WORD = "update"

    stage: str
    step: int
    steps: int
    seconds_left: float | None = None


class StageLines:
    """Writes a line when a stage begins and ends, and every few seconds between; a training has its own."""

    def __init__(self) -> None:
        self._stage, self._said = "", -math.inf

    def __call__(self, progress: UpdateProgress) -> None:
        """Told about every tile and iteration."""
        if progress.stage == "training":
            return
        now = time.monotonic()
        is_new = progress.stage != self._stage
        if not is_new and progress.step < progress.steps and now - self._said < _SECONDS_BETWEEN:
            return
        self._stage, self._said = progress.stage, now
        left = None if math.isnan(progress.seconds_left) else round(progress.seconds_left, 1)
        line = UpdateStage(stage=progress.stage, step=progress.step, steps=progress.steps, seconds_left=left)
        sys.stdout.write(line.line() + "\n")
        sys.stdout.flush()
