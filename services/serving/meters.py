"""What Prometheus is told by the service. Ray adds the deployment, replica and application to every value.

Ray exports each name with `ray_` before it, and a counter's with `_total` behind it. Its histograms
count rightly, but their `_sum` is made of the middles of the buckets: whatever is to be exact is a counter.
A gauge that nobody sets is exported for twenty seconds and then no more, so each is set again and again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ray.serve import metrics

if TYPE_CHECKING:
    from services.serving.predictor import PredictionOutcome
    from services.serving.update_queue import QueueLoad

QUEUE_SECONDS: Final = 5.0
"""From one look at the queue to the next; Ray passes values on every ten seconds."""
DEPENDENCY_SECONDS: Final = 5.0
"""From the answers of MLflow and the object store, which take ten seconds at most, to the next questions."""

_LONG: Final = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0]
_SHORT: Final = [0.05, 0.1, 0.2, 0.5]


class UpdateMeter:
    """Counts updates by end state, measures how long the work took, and shows the queue.

    Args:
        max_waiting: updates that may wait; more are refused.
    """

    def __init__(self, *, max_waiting: int) -> None:
        self._ended = metrics.Counter("icss_updates", "updates that ended", tag_keys=("status",))
        self._seconds = metrics.Histogram(
            "icss_update_seconds", "from the start of an update's work to its end", boundaries=_LONG
        )
        self._waiting = metrics.Gauge("icss_updates_waiting", "updates that wait for their turn")
        self._running = metrics.Gauge("icss_updates_running", "updates at work, 0 or 1")
        self._oldest = metrics.Gauge(
            "icss_oldest_waiting_update_seconds", "since the update that waits longest was accepted"
        )
        self._running_for = metrics.Gauge(
            "icss_running_update_seconds", "since the work on the update that runs began"
        )
        self._limit = metrics.Gauge("icss_updates_waiting_limit", "updates that may wait; more are refused")
        self._max_waiting = max_waiting

    def ended(self, status: str, seconds: float) -> None:
        """Note an update that ended."""
        self._ended.inc(tags={"status": status})
        self._seconds.observe(seconds)

    def load(self, load: QueueLoad) -> None:
        """Show how much there is to do now."""
        self._waiting.set(load.waiting)
        self._running.set(load.running)
        self._oldest.set(load.oldest_waiting_seconds)
        self._running_for.set(load.running_seconds)
        self._limit.set(self._max_waiting)


class PredictionMeter:
    """Counts predictions and pixels, and measures how long they took."""

    def __init__(self) -> None:
        self._pixels = metrics.Counter("icss_predicted_pixels", "pixels of predicted images")
        self._work = metrics.Counter("icss_predicting_seconds", "seconds of predictions, added up")
        self._seconds = metrics.Histogram(
            "icss_prediction_seconds",
            "one prediction, reading and writing included, waiting for its turn left out",
            boundaries=_SHORT + _LONG,
        )

    def ended(self, outcome: PredictionOutcome) -> None:
        """Note a prediction that was made."""
        self._pixels.inc(outcome.pixels)
        self._work.inc(max(outcome.prediction.seconds, 1e-9))  # Ray refuses 0
        self._seconds.observe(outcome.prediction.seconds)


class DependencyMeter:
    """Shows whether what the service depends on answers."""

    def __init__(self) -> None:
        self._up = metrics.Gauge(
            "icss_dependency_up", "1: it answers this process; 0: it does not", tag_keys=("dependency",)
        )

    def answers(self, name: str, answers: bool) -> None:
        """Note whether a part has answered just now."""
        self._up.set(int(answers), tags={"dependency": name})
