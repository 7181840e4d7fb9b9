"""What Prometheus is told by each rank of a training. Ray adds the node and the session to every value.

Counters, not rates: whoever asks chooses over how long to look, and several ranks can be added up. Ray
exports each name as `ray_..._total`, and goes on exporting it after the training's processes have ended.
Where a process is not connected to Ray, nobody is told anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ray.util import metrics

if TYPE_CHECKING:
    from services.training.report import IterationPoint

_LABELS = ("model", "rank")


class TrainingMeter:
    """Adds up what the iterations of one rank did.

    Args:
        model: name of the model that is trained.
        rank: of this process.
    """

    def __init__(self, *, model: str, rank: int) -> None:
        self._tags = {"model": model, "rank": str(rank)}
        self._iterations = metrics.Counter(
            "icss_training_iterations", "iterations of a training", tag_keys=_LABELS
        )
        self._samples = metrics.Counter(
            "icss_training_samples", "crops that a training has learnt from", tag_keys=_LABELS
        )
        self._seconds = metrics.Counter(
            "icss_training_seconds",
            "seconds spent in iterations, waiting for their batches included",
            tag_keys=_LABELS,
        )
        self._input_wait = metrics.Counter(
            "icss_training_input_wait_seconds", "seconds of it spent waiting for batches", tag_keys=_LABELS
        )

    def iteration(self, point: IterationPoint) -> None:
        """Note an iteration."""
        for counter, value in (
            (self._iterations, 1.0),
            (self._samples, point.samples),
            (self._seconds, point.seconds),
            (self._input_wait, point.input_wait),
        ):
            if value > 0:  # Ray refuses 0
                counter.inc(value, tags=self._tags)
