"""One update's switchboard: the work reports into it and asks it whether to stop."""

from __future__ import annotations

import math
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from icss_core.errors import CancelledError
from services.errors import (
    ConflictError,
    LostOwnershipError,
    StorageUnavailableError,
    TrackingUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from icss_core.updating import UpdateProgress
    from services.ownership import Lease

PATIENCE_SECONDS: Final = 600.0
"""How long the work on an update waits for MLflow or a store that is away, before the update fails."""

_STAGES: Final = ("starting", "memory", "head", "training", "report", "pictures", "registering")
_PAUSE: Final = 0.1  # seconds from one look at whether to stop to the next
_T = TypeVar("_T")


class LiveProgress(BaseModel):
    """How far an update is that has not ended."""

    model_config = ConfigDict(frozen=True)

    running: bool = False
    ahead: int = 0
    """Updates before this one in the queue."""
    cancelling: bool = False
    percent: int = 0
    """Of the time the update takes, by the estimate of what is left."""
    stage: str | None = None
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    seconds_left: float | None = None


class Control(Protocol):
    """What the work on an update sees of the outside."""

    def enter(self, stage: str) -> None:
        """Show that another stage begins."""

    def report(self, progress: UpdateProgress) -> None:
        """Show progress within a stage."""

    def should_stop(self) -> bool:
        """Whether the work should raise CancelledError soon."""

    def outlast(self, call: Callable[[], _T]) -> _T:
        """Call MLflow or the store, again while it is away: its restart must not cost what was trained.

        Args:
            call: may be made twice.

        Raises:
            CancelledError: the work is to stop.
            TrackingUnavailableError, StorageUnavailableError: it has been away for `PATIENCE_SECONDS`.
        """

    def commit(self) -> None:
        """The point of no return, just before the result is registered; passing it twice is harmless.

        Raises:
            CancelledError: somebody cancelled before.
            LostOwnershipError: another process has taken the update over.
            TrackingUnavailableError: MLflow is away, so that nobody knows.
        """


class UpdateControl:
    """The state of one update in this process; every method may be called from any thread.

    Args:
        update_id: its id.
        closing: set when the process is to stop working; the update is then interrupted, not cancelled.
        patience: see `PATIENCE_SECONDS`.
        accepted: when the update was; by default now.
    """

    def __init__(
        self,
        update_id: str,
        *,
        closing: threading.Event,
        patience: float = PATIENCE_SECONDS,
        accepted: datetime | None = None,
    ) -> None:
        self.id = update_id
        self.accepted = accepted or datetime.now(UTC)
        self._closing = closing
        self._patience = patience
        self._lease: Lease | None = None
        self._lock = threading.Lock()
        self._cancelled = False
        self._committed = False
        self._progress = LiveProgress()
        self._started = 0.0

    @property
    def progress(self) -> LiveProgress:
        """How far it is."""
        with self._lock:
            return self._progress

    @property
    def reached(self) -> float:
        """How far it is as one number: stages behind it, and the part done of the present one."""
        now = self.progress
        if now.stage not in _STAGES:
            return 0.0
        part = min(now.step / now.steps, 0.999) if now.step is not None and now.steps else 0.0
        return _STAGES.index(now.stage) + part

    @property
    def seconds(self) -> float:
        """Since its work began in this process; 0 before."""
        return time.monotonic() - self._started if self._started else 0.0

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked to cancel it, and in time."""
        with self._lock:
            return self._cancelled

    @property
    def is_lost(self) -> bool:
        """Whether another process has taken the update over."""
        return self._lease is not None and self._lease.is_lost

    def begin(self, lease: Lease) -> None:
        """Note that this process carries the update out, as long as it holds the lease."""
        self._lease = lease
        self.enter(_STAGES[0])

    def enter(self, stage: str) -> None:
        """Show that another stage begins."""
        self._started = self._started or time.monotonic()
        self._show(stage=stage, step=None, steps=None, seconds_left=None)

    def report(self, progress: UpdateProgress) -> None:
        """Show progress within a stage."""
        left = None if math.isnan(progress.seconds_left) else progress.seconds_left
        values: dict[str, object] = {"step": progress.step, "steps": progress.steps, "seconds_left": left}
        if not math.isnan(progress.loss):  # the last one stays in view in later stages
            values["loss"] = progress.loss
        if left is not None:
            elapsed = time.monotonic() - self._started
            # the estimate may get worse; what was shown does not go back
            values["percent"] = max(self.progress.percent, min(int(100 * elapsed / (elapsed + left + 1)), 99))
        self._show(stage=progress.stage, **values)

    def should_stop(self) -> bool:
        """Whether it was cancelled or taken over, or the process is to stop working."""
        return self._closing.is_set() or self.is_cancelled or self.is_lost

    def cancel(self) -> None:
        """Ask it to stop.

        Raises:
            ConflictError: too late, its result is being registered.
        """
        with self._lock:
            if self._committed:
                raise ConflictError(
                    f"update {self.id} is being registered and can no longer be cancelled; "
                    "its version only counts once it is accepted"
                )
            self._cancelled = True
            self._progress = self._progress.model_copy(update={"cancelling": True})

    def outlast(self, call: Callable[[], _T]) -> _T:
        """Call MLflow or the store, again while it is away; see `Control.outlast`."""
        retrying = Retrying(
            retry=retry_if_exception_type((TrackingUnavailableError, StorageUnavailableError)),
            stop=stop_after_delay(self._patience),
            wait=wait_exponential(multiplier=0.2, max=10),
            sleep=self._pause,
            reraise=True,
        )
        return retrying(call)

    def commit(self) -> None:
        """Pass the point of no return; see `Control.commit`."""
        if self._lease is None:
            raise LostOwnershipError(f"nobody holds update {self.id}: it was never begun")
        self._lease.check()
        with self._lock:
            if self._cancelled or self._closing.is_set():
                raise CancelledError("cancelled before its result was registered")
            self._committed = True

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.should_stop():
                raise CancelledError("stopped while MLflow or the object store was away")
            self._closing.wait(_PAUSE)

    def _show(self, **values: object) -> None:
        with self._lock:
            self._progress = self._progress.model_copy(update={"running": True, **values})
