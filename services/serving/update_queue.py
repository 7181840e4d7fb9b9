"""Updates one at a time, in the order they came, in one thread of one warm process.

The records are the truth: the queue only holds what a restart would find in them again.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

from icss_core.errors import CancelledError, IcssError
from services.errors import BusyError, ConflictError, TrackingError, TrainingError
from services.serving.responses import ErrorDetail
from services.serving.update_control import UpdateControl

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.serving.orders import UpdateOrder
    from services.serving.update_control import Control, LiveProgress
    from services.serving.update_records import UpdateRecords

_log = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 3
"""How often an update is begun: one that kills its process must not do so for ever."""


class Work(Protocol):
    """Carries out an order and returns the version it made."""

    def __call__(self, update_id: str, order: UpdateOrder, control: Control) -> int:
        """Raises CancelledError when stopped, any other exception when it fails."""


class UpdateQueue:
    """The queue and its worker thread.

    Args:
        records: where updates are written down.
        work: carries out one update.
        max_waiting: how many may wait; more are refused.
        on_end: told the end state of each update and the seconds it took, for metrics.
    """

    def __init__(
        self,
        records: UpdateRecords,
        work: Work,
        *,
        max_waiting: int,
        on_end: Callable[[str, float], None] = lambda _status, _seconds: None,
    ) -> None:
        self.owner = uuid.uuid4().hex
        self._records = records
        self._work = work
        self._max_waiting = max_waiting
        self._on_end = on_end
        self._queued: OrderedDict[str, UpdateControl] = OrderedDict()
        self._changed = threading.Condition()  # guards _queued
        self._submitting = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="updates", daemon=True)

    def start(self) -> list[str]:
        """Take over what an earlier process left unfinished, oldest first, then begin to work.

        Returns the ids of the updates taken over.

        Raises:
            TrackingError: the records cannot be read.
        """
        pending = self._records.pending()
        for update_id in pending:
            self._records.claim(update_id, self.owner)
            control = self._enqueue(update_id)
            if self._records.cancel_requested(update_id):
                control.cancel()
        self._thread.start()
        return pending

    @property
    def is_alive(self) -> bool:
        """Whether the worker thread runs."""
        return self._thread.is_alive()

    def submit(self, order: UpdateOrder, key: str | None) -> str:
        """Accept an order and return its id; the same key again returns the same id.

        Without a key, an order is the same as an equal one that has not ended: pressing twice does not start
        two, and asking again later does.

        Raises:
            ConflictError: the key was used for another order.
            BusyError: the queue is full.
            TrackingError: the order could not be written down; it is not accepted.
        """
        fingerprint = order.fingerprint()
        with self._submitting:  # so that two requests with one key cannot both find nothing
            found = self._records.find(key or fingerprint)
            if found is not None:
                status, known = found
                if known != fingerprint:
                    raise ConflictError(
                        f"the key {key!r} belongs to update {status.id}, which is another one"
                    )
                if key is not None or not status.is_finished:
                    return status.id
            with self._changed:
                waiting = sum(not control.progress.running for control in self._queued.values())
            if waiting >= self._max_waiting:
                raise BusyError(f"{waiting} updates are waiting already; try again when some have ended")
            update_id = self._records.create(order, key=key or fingerprint, owner=self.owner)
            self._enqueue(update_id)
            return update_id

    def cancel(self, update_id: str, *, wait_seconds: float = 5.0) -> None:
        """Cancel an update, waiting or running, and wait a moment for it to end.

        One that this queue does not know has ended: its record says how.

        Raises:
            ConflictError: its result is being registered this moment.
            TrackingError: the wish could not be written down; it is cancelled all the same, unless a crash
                comes first.
        """
        with self._changed:
            control = self._queued.get(update_id)
            if control is None:
                return
            control.cancel()
            self._changed.notify_all()
        self._records.request_cancel(update_id)
        with self._changed:
            self._changed.wait_for(lambda: update_id not in self._queued, timeout=wait_seconds)

    def progress(self, update_id: str) -> LiveProgress | None:
        """How far an update is; None if it has ended (or never was): then its record says so."""
        with self._changed:
            control = self._queued.get(update_id)
            if control is None:
                return None
            now = control.progress
            return now if now.running else now.model_copy(update={"ahead": [*self._queued].index(update_id)})

    def close(self, *, wait_seconds: float = 5.0) -> None:
        """Stop working. What has not ended stays in the records, for the next process to take over."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(wait_seconds)

    def _enqueue(self, update_id: str) -> UpdateControl:
        control = UpdateControl(update_id, closing=self._closing, is_mine=self._is_mine)
        with self._changed:
            self._queued[update_id] = control
            self._changed.notify_all()
        return control

    def _is_mine(self, update_id: str) -> bool:
        return self._records.owner(update_id) == self.owner

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing.is_set() or len(self._queued) > 0)
                if self._closing.is_set():
                    return
                # what was cancelled need not wait for its turn to be written off
                cancelled = (control for control in self._queued.values() if control.is_cancelled)
                control = next(cancelled, None) or next(iter(self._queued.values()))
            try:
                self._carry_out(control)
            except TrackingError:
                _log.exception("no end state written for update %s; a restart takes it up again", control.id)
            with self._changed:
                del self._queued[control.id]
                self._changed.notify_all()

    def _work_on(self, control: UpdateControl) -> int:
        if control.is_cancelled:
            raise CancelledError("cancelled before it began")
        control.enter("starting")
        order = self._records.order(control.id)
        if self._records.start(control.id) > MAX_ATTEMPTS:
            raise TrainingError(
                f"the process died {MAX_ATTEMPTS} times while it carried this update out; it is not tried "
                "again. If it ran out of memory, fewer or smaller crops will help"
            )
        return self._work(control.id, order, control)

    def _carry_out(self, control: UpdateControl) -> None:
        started = time.monotonic()
        try:
            version = self._work_on(control)
        except CancelledError:
            if control.is_cancelled:
                self._records.dismiss(control.id)
                self._on_end("dismissed", time.monotonic() - started)
            # else the process is closing: the record stays open for the next one
        except Exception as error:  # noqa: BLE001 - whatever happens ends this update, not the queue
            if isinstance(error, ConflictError) and not self._is_mine(control.id):
                _log.warning("update %s is another process's now", control.id)
                return
            self._records.fail(control.id, _detail(control.id, error))
            self._on_end("failed", time.monotonic() - started)
        else:
            self._records.succeed(control.id, version)
            self._on_end("successful", time.monotonic() - started)


def _detail(update_id: str, error: Exception) -> ErrorDetail:
    """What the record says of an error: our own errors speak for themselves, others stay in the log."""
    if isinstance(error, IcssError):
        _log.warning("update %s failed: %s: %s", update_id, type(error).__name__, error)
        return ErrorDetail(type=type(error).__name__, message=str(error))
    _log.error("update %s failed", update_id, exc_info=error)
    message = f"the service failed; its log has the reason under id {update_id}"
    return ErrorDetail(type="InternalError", message=message, id=update_id)
