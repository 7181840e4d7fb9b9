"""One update's switchboard: the work reports into it and asks it whether to stop."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, ConfigDict

from icss_core.errors import CancelledError
from services.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable

    from icss_core.updating import Progress


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

    def report(self, progress: Progress) -> None:
        """Show progress within a stage."""

    def should_stop(self) -> bool:
        """Whether the work should raise CancelledError soon."""

    def commit(self) -> None:
        """The point of no return, just before the result is registered.

        Raises:
            CancelledError: somebody cancelled before.
            ConflictError: another process has taken the update over.
        """


class UpdateControl:
    """The state of one update in this process; every method may be called from any thread.

    Args:
        update_id: its id.
        closing: set when the process is to stop working; the update is then interrupted, not cancelled.
        is_mine: asks the record whether this process still is the one to carry the update out.
    """

    def __init__(self, update_id: str, *, closing: threading.Event, is_mine: Callable[[str], bool]) -> None:
        self.id = update_id
        self._closing = closing
        self._is_mine = is_mine
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
    def is_cancelled(self) -> bool:
        """Whether somebody asked to cancel it, and in time."""
        with self._lock:
            return self._cancelled

    def enter(self, stage: str) -> None:
        """Show that another stage begins."""
        self._started = self._started or time.monotonic()
        self._show(stage=stage, step=None, steps=None, seconds_left=None)

    def report(self, progress: Progress) -> None:
        """Show progress within a stage."""
        left = None if math.isnan(progress.seconds_left) else progress.seconds_left
        values: dict[str, object] = {"step": progress.step, "steps": progress.steps, "seconds_left": left}
        if not math.isnan(progress.loss):  # the last one stays in view in later stages
            values["loss"] = progress.loss
        if left is not None:
            elapsed = time.monotonic() - self._started
            # estimates change their mind, what was shown does not go back
            values["percent"] = max(self.progress.percent, min(int(100 * elapsed / (elapsed + left + 1)), 99))
        self._show(stage=progress.stage, **values)

    def should_stop(self) -> bool:
        """Whether it was cancelled, or the process is to stop working."""
        return self._closing.is_set() or self.is_cancelled

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

    def commit(self) -> None:
        """Pass the point of no return; see `Control.commit`."""
        if not self._is_mine(self.id):
            raise ConflictError(f"another process has taken update {self.id} over")
        with self._lock:
            if self._cancelled or self._closing.is_set():
                raise CancelledError("cancelled before its result was registered")
            self._committed = True

    def _show(self, **values: object) -> None:
        with self._lock:
            self._progress = self._progress.model_copy(update={"running": True, **values})
