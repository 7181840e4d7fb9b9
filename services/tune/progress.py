"""What a sweep says while it runs: a line for each image, or task, of each trial."""

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
"""How many images, or tasks: a key of what trials report; `done` is Tune's own word for their end."""


class SweepProgress(Callback):
    """Counts trials, images and tasks as Tune hears of them.

    Args:
        trials: to be run now.
        unit: what a trial does one after another, in the plural.
        failed: whether a trial that Tune saw end has failed, by its id: those that would only fail again do
            not raise, since Tune would start them again.
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
        """An image, or a task, is done."""
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
        self._say(order, "failed" if self._failed(order.trial_id) else "ended")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: object) -> None:
        """A trial failed for good."""
        del iteration, trials
        self._say(TrialOrder.of(trial.config), "failed")

    def _say(self, order: TrialOrder, how: Literal["ended", "failed"]) -> None:
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
