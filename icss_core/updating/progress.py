"""Where an update stands, and how long it may still take."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from icss_core.training import IterationReport
    from icss_core.updating.tiles import WorkingArea

Stage = Literal["memory", "head", "training", "report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateProgress:
    """Where an update stands."""

    stage: Stage
    """memory: the memory network looks at the image; head: heads are fitted; training; report."""
    step: int
    """Done in this stage: tiles, or iterations while training."""
    steps: int
    loss: float = math.nan
    """Of the last iteration; NaN outside training."""
    terms: dict[str, float]
    seconds_left: float
    """Estimated to the end of the update, from the pace so far; NaN before there is any."""


class UpdateClock:
    """Tells the caller where the update stands and how long it may still take."""

    def __init__(
        self, on_progress: Callable[[UpdateProgress], None] | None, area: WorkingArea, iterations: int
    ) -> None:
        self._on_progress, self._tiles, self.iterations = on_progress, len(area.tiles), iterations
        # a stage starts when the one before was last heard of
        self._started = self._last = time.perf_counter()
        self._stage: Stage = "memory"
        self._pace: dict[Stage, float] = {}

    def tiles(self, stage: Stage) -> Callable[[int, int], None]:
        """A callback for a stage that counts tiles."""
        return lambda step, steps: self.tell(stage, step, steps)

    def tell(self, stage: Stage, step: int, steps: int, report: IterationReport | None = None) -> None:
        """Report progress."""
        self.reached(stage, step)
        if self._on_progress is None:
            return
        self._on_progress(
            UpdateProgress(
                stage=stage,
                step=step,
                steps=steps,
                loss=report.loss if report else math.nan,
                terms=report.terms if report else {},
                seconds_left=self._left(stage, step, steps),
            )
        )

    def reached(self, stage: Stage, step: int) -> None:
        """Take note of progress without reporting it."""
        now = time.perf_counter()
        if stage != self._stage:
            self._stage, self._started = stage, self._last
        self._last = now
        if step:
            self._pace[stage] = (now - self._started) / step

    def _left(self, stage: Stage, step: int, steps: int) -> float:
        """This stage at its pace, the training at its own or unknown, the report at the memory's."""
        pace = self._pace
        if stage not in pace:
            return math.nan
        left = pace[stage] * (steps - step)
        if stage in {"memory", "head"}:
            return math.nan if self.iterations else left
        return left + (pace.get("memory", 0.0) * self._tiles if stage == "training" else 0.0)
