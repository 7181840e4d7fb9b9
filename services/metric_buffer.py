"""Metrics on their way to the MLflow server."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Self

from services.errors import TrackingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from services.tracking import Tracking

_logger = logging.getLogger(__name__)


class MetricBuffer:
    """Collects the metrics of a run and sends them every few seconds, so that logging costs no step its time.

    Use as a context manager: leaving it sends the rest. A server that does not answer for a moment costs
    nothing: what could not be sent is kept, and sent with the next batch.
    """

    def __init__(self, tracking: Tracking, run_id: str, *, seconds: float = 2.0) -> None:
        self._tracking = tracking
        self._run_id = run_id
        self._seconds = seconds
        self._points: list[tuple[int, float, dict[str, float]]] = []
        self._sent = time.monotonic()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note the values of one step."""
        self._points.append((step, time.time(), dict(values)))
        if time.monotonic() - self._sent < self._seconds:
            return
        try:
            self.flush()
        except TrackingError as error:
            _logger.warning("metrics up to step %d are kept for later: %s", step, error)
            self._sent = time.monotonic()

    def flush(self) -> None:
        """Send what is waiting.

        Raises:
            TrackingError: the server refused or did not answer; nothing is lost from the buffer.
        """
        if self._points:
            self._tracking.log_metrics(self._run_id, self._points)
            self._points = []
        self._sent = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        except TrackingError:
            if error is None:
                raise
            _logger.warning("the last metrics of run %s could not be sent", self._run_id, exc_info=True)
