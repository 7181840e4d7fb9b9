"""What a sweep logs while it runs: a line for each image or task that a trial has finished."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from ray.tune import Callback

from services.tune.trial_order import TrialOrder

if TYPE_CHECKING:
    from collections.abc import Callable

    from ray.tune.experiment import Trial

_logger = logging.getLogger(__name__)
PROGRESS: Final = "units_done"
"""Key, in what a trial reports to Tune, of how many images or tasks are done. Tune itself uses `done`."""


class SweepProgress(Callback):
    """Logs what Tune hears of its trials, and remembers how each one ended.

    Args:
        trials: how many will be run.
        unit: what a trial does one after another, in the plural: images or tasks.
        failed: whether the record of a trial, by its id, says that it failed. Tune cannot tell: it starts
            a trial again that raises, so one that would only fail again ends without raising.
    """

    def __init__(self, trials: int, *, unit: str, failed: Callable[[str], bool]) -> None:
        self._trials = trials
        self._unit = unit
        self._failed = failed
        self.outcomes: dict[str, Literal["ended", "failed"]] = {}
        """By trial id."""
        self._started = time.monotonic()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: object
    ) -> None:
        """An image or a task is done."""
        del iteration, trials
        _logger.info(
            "%s: %d %s, mean IoU %.1f %%",
            TrialOrder.of(trial.config).title,
            result[PROGRESS],
            self._unit,
            100 * result["mean_iou"],
        )

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **_: object) -> None:
        """A trial is done, or was stopped by the scheduler."""
        del iteration, trials
        order = TrialOrder.of(trial.config)
        self._note_end(order, "failed" if self._failed(order.trial_id) else "ended")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: object) -> None:
        """A trial failed for good."""
        del iteration, trials
        self._note_end(TrialOrder.of(trial.config), "failed")

    def _note_end(self, order: TrialOrder, how: Literal["ended", "failed"]) -> None:
        self.outcomes[order.trial_id] = how
        ended = len(self.outcomes)
        minutes = (time.monotonic() - self._started) / 60
        left = minutes / ended * (self._trials - ended)
        _logger.info(
            "%s: %s; %d of %d trials, %.0f min, about %.0f left",
            order.title,
            how,
            ended,
            self._trials,
            minutes,
            left,
        )
