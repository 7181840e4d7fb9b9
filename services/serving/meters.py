"""What Prometheus is told. Ray adds the deployment, replica and application to every value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ray.serve import metrics

if TYPE_CHECKING:
    from services.serving.predictor import PredictionOutcome

_SECONDS = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0]


class UpdateMeter:
    """Counts updates by end state, and measures how long the work took."""

    def __init__(self) -> None:
        self._ended = metrics.Counter("icss_updates", "updates that ended", tag_keys=("status",))
        self._seconds = metrics.Histogram(
            "icss_update_seconds", "from the start of an update's work to its end", boundaries=_SECONDS
        )

    def ended(self, status: str, seconds: float) -> None:
        """Note an update that ended."""
        self._ended.inc(tags={"status": status})
        self._seconds.observe(seconds)


class PredictionMeter:
    """Counts predictions and pixels, and measures how long they took."""

    def __init__(self) -> None:
        self._pixels = metrics.Counter("icss_predicted_pixels", "pixels of predicted images")
        self._seconds = metrics.Histogram(
            "icss_prediction_seconds", "one prediction, reading and writing included", boundaries=_SECONDS
        )

    def ended(self, outcome: PredictionOutcome) -> None:
        """Note a prediction that was made."""
        self._pixels.inc(outcome.pixels)
        self._seconds.observe(outcome.prediction.seconds)
