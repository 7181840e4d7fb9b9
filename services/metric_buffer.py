"""Metrics on their way to the MLflow server."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final, Self

from services.errors import TrackingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from services.tracking import Tracking

_logger = logging.getLogger(__name__)

_LAST_SECONDS: Final = 5.0
"""How long the last metrics of failed work may take; the failure is not kept waiting for them."""


class MetricBuffer:
    """Collects the metrics of a run; a thread sends them every few seconds, so that `log` never waits.

    Use as a context manager: leaving it sends the rest. A server that is away costs nothing meanwhile: what
    could not be sent is kept, and sent with the next batch.

    Args:
        tracking: the MLflow server.
        run_id: of the run.
        seconds: from one batch to the next.
    """

    def __init__(self, tracking: Tracking, run_id: str, *, seconds: float = 2.0) -> None:
        self._tracking = tracking
        self._run_id = run_id
        self._seconds = seconds
        self._points: list[tuple[int, float, dict[str, float]]] = []
        self._sending = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, name=f"metrics {run_id}", daemon=True)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note the values of one step."""
        self._points.append((step, time.time(), dict(values)))

    def flush(self) -> None:
        """Send what is waiting, and return when it is there; a batch on its way is waited for.

        Raises:
            TrackingError: the server refused or did not answer; nothing is lost from the buffer.
        """
        with self._sending:
            batch = self._points.copy()
            if batch:
                self._tracking.log_metrics(self._run_id, batch)
                del self._points[: len(batch)]  # `log` appends meanwhile

    def _send(self) -> None:
        ends = False
        while not ends:
            ends = self._stop.wait(self._seconds)
            try:
                self.flush()
            except TrackingError as error:
                _logger.warning("metrics of run %s are kept for later: %s", self._run_id, error)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if error is not None:
            self._thread.join(_LAST_SECONDS)
            return
        self._thread.join()
        self.flush()  # what the thread could not send, with an error that the caller sees
