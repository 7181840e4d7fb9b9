"""Predictions of many callers at once, in the threads of one process."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from services.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from services.serving.predictor import PredictionJob, PredictionOutcome, PredictionService

_log = logging.getLogger("ray.serve")


class PredictionPool:
    """`ports.Predictor` over a `PredictionService`.

    Threads only wait and open images at the same time: whose turn it is to compute, the service decides.

    Args:
        service: does the work.
        places: callers that may be inside at once, working or waiting; more are refused.
        on_end: told about each prediction that was made, for metrics.
    """

    def __init__(
        self,
        service: PredictionService,
        *,
        places: int,
        on_end: Callable[[PredictionOutcome], None] = lambda _outcome: None,
    ) -> None:
        self._service = service
        self._places = places
        self._on_end = on_end
        self._free = threading.Semaphore(places)
        self._threads = ThreadPoolExecutor(max_workers=places, thread_name_prefix="prediction")

    async def predict(self, job: PredictionJob) -> PredictionOutcome:
        """See `PredictionService.predict`. A caller who goes away stops the work, between network calls.

        Raises:
            BusyError: every place is taken.
        """
        if not self._free.acquire(blocking=False):
            raise BusyError(f"{self._places} predictions are at work or waiting already; try again later")
        abandoned = threading.Event()
        work = self._threads.submit(self._service.predict, job, abandoned.is_set)

        def leave(_: Future[PredictionOutcome]) -> None:
            # the place is free when the thread is, which may be a moment after the caller has gone
            self._free.release()
            if abandoned.is_set():
                _log.info("prediction %s has stopped: its caller had gone away", job.id)

        work.add_done_callback(leave)
        try:
            outcome = await asyncio.wrap_future(work)
        except asyncio.CancelledError:
            abandoned.set()
            raise
        self._on_end(outcome)
        return outcome

    async def verify(self, name: str, version: int) -> None:
        """Load a version, or raise what is wrong with it; see `ModelCache.get`."""
        await asyncio.to_thread(self._service.models.get, name, version)

    async def ready(self) -> bool:
        """Whether it takes jobs; that it answers says so."""
        return True

    def close(self) -> None:
        """Take no more work; what runs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
