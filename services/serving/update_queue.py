"""Updates one at a time, in the order they came, in one thread of one warm process.

The records are the truth: the queue only holds what a restart would find in them again. A second thread
compares the two every few seconds: it writes end states that MLflow did not take before, takes up updates
whose process is gone, and stops those that somebody else was asked to cancel.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from icss_core.errors import CancelledError, IcssError
from services.errors import BusyError, ConflictError, LostOwnershipError, TrackingError, TrainingError
from services.serving.responses import ErrorDetail
from services.serving.update_control import PATIENCE_SECONDS, LiveProgress, UpdateControl
from services.serving.update_ends import UpdateEnds
from services.serving.update_records import UpdateEnd

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.serving.orders import UpdateOrder
    from services.serving.update_control import Control
    from services.serving.update_records import PendingUpdate, UpdateRecords

_log = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 3
"""How often an update is begun without getting further than before: one that kills its process must end."""


class Work(Protocol):
    """Carries out an order and returns the version it made."""

    def __call__(self, update_id: str, order: UpdateOrder, control: Control) -> int:
        """Raises CancelledError when stopped, any other exception when it fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLoad:
    """How much there is to do."""

    waiting: int
    running: int
    """0 or 1."""
    oldest_waiting_seconds: float
    """Since the update that waits longest was accepted, by this process or an earlier one; 0: none waits."""
    running_seconds: float
    """Since the work on the one that runs began in this process; 0: none runs."""


class UpdateQueue:
    """The queue, its worker thread and the thread that keeps it in step with the records.

    Args:
        records: where updates are written down.
        work: carries out one update.
        max_waiting: how many may wait; more are refused.
        on_end: told the end state of each update and the seconds it took, for metrics, once it is recorded.
        reconcile_seconds: from one comparison with the records to the next.
        patience: see `PATIENCE_SECONDS`.
    """

    def __init__(
        self,
        records: UpdateRecords,
        work: Work,
        *,
        max_waiting: int,
        on_end: Callable[[str, float], None] = lambda _status, _seconds: None,
        reconcile_seconds: float = 5.0,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._records = records
        self._work = work
        self._max_waiting = max_waiting
        self._reconcile_seconds = reconcile_seconds
        self._patience = patience
        self._ends = UpdateEnds(records, on_end)
        self._changed = threading.Condition()  # guards the four below
        self._queued: OrderedDict[str, UpdateControl] = OrderedDict()
        self._running: UpdateControl | None = None
        self._doubtful: set[str] = set()
        """Found at the start with an owner who may live: the first of the order, so the others wait."""
        self._doubtful_until = 0.0
        self._left: set[str] = set()
        """Left the queue since the records were last listed: such a list may still show them as pending."""
        self._submitting = threading.Lock()
        self._closing = threading.Event()
        self._worker = threading.Thread(target=self._serve, name="updates", daemon=True)
        self._keeper = threading.Thread(target=self._keep_in_step, name="update records", daemon=True)

    def start(self) -> list[str]:
        """Take over what an earlier process left unfinished, oldest first, then begin to work.

        What a process did that crashed a moment ago is begun once its lease has run out.

        Returns the ids of the updates taken over.

        Raises:
            TrackingError: the records cannot be read.
        """
        pending = self._records.pending()
        self._doubtful = {one.id for one in pending if not one.is_free}
        self._doubtful_until = time.monotonic() + 1.5 * self._records.lease_seconds
        for one in pending:
            self._enqueue(one.id, one.accepted)
        for one in pending:
            self._compare(one)
        self._worker.start()
        self._keeper.start()
        return [one.id for one in pending]

    @property
    def is_alive(self) -> bool:
        """Whether both threads run."""
        return self._worker.is_alive() and self._keeper.is_alive()

    def load(self) -> QueueLoad:
        """How much there is to do; asks nobody, so it is known while MLflow is away too."""
        with self._changed:
            running = self._running
            waiting = [control for control in self._queued.values() if control is not running]
        oldest = min((control.accepted for control in waiting), default=None)
        age = 0.0 if oldest is None else (datetime.now(UTC) - oldest).total_seconds()
        return QueueLoad(
            waiting=len(waiting),
            running=int(running is not None),
            oldest_waiting_seconds=max(age, 0.0),  # clocks of two machines may differ
            running_seconds=0.0 if running is None else running.seconds,
        )

    def submit(self, order: UpdateOrder, key: str | None) -> str:
        """Accept an order and return its id; the same request again returns the same id.

        See `UpdateRecords.repeated` for what is the same.

        Raises:
            ConflictError: the key was used for another request.
            BusyError: the queue is full.
            TrackingError: the order could not be written down; it is not accepted.
        """
        with self._submitting:  # so that two requests with one key cannot both find nothing
            earlier = self._records.repeated(key, order.request)
            if earlier is not None:
                return earlier
            waiting = self.load().waiting
            if waiting >= self._max_waiting:
                raise BusyError(f"{waiting} updates are waiting already; try again when some have ended")
            update_id = self._records.create(order, key=key)
            self._enqueue(update_id)
            return update_id

    def cancel(self, update_id: str, *, wait_seconds: float = 5.0) -> None:
        """Cancel an update: at once if nobody carries it out, else by asking whoever does to stop.

        One that runs in this process gets a moment to end.

        Raises:
            ConflictError: its result is being registered this moment, or it has ended in another way.
            TrackingError: the wish could not be written down; it is cancelled all the same, unless a crash
                comes first.
        """
        end = self._ends.get(update_id)
        if end is not None:
            if end.state != "dismissed":
                raise ConflictError(f"update {update_id} has ended: {end.state}; nothing is left to cancel")
            return
        with self._changed:
            control = self._queued.get(update_id)
            if control is not None and control is self._running:
                control.cancel()
            else:
                self._ends.keep(update_id, UpdateEnd(state="dismissed"), None)
                self._drop(update_id)
                control = None
        if control is None:
            self._ends.write()
            return
        self._records.request_cancel(update_id)
        with self._changed:
            self._changed.wait_for(lambda: update_id not in self._queued, timeout=wait_seconds)

    def progress(self, update_id: str) -> LiveProgress | None:
        """How far an update is; None if it has ended (or never was): then its record says so."""
        end = self._ends.get(update_id)
        if end is not None:
            return LiveProgress(
                running=True, percent=99, stage="recording", cancelling=end.state == "dismissed"
            )
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
        for thread in (self._worker, self._keeper):
            if thread.is_alive():
                thread.join(wait_seconds)
        self._ends.write()

    def _enqueue(self, update_id: str, accepted: datetime | None = None) -> None:
        with self._changed:
            if update_id not in self._queued:
                self._queued[update_id] = UpdateControl(
                    update_id, closing=self._closing, patience=self._patience, accepted=accepted
                )
            self._changed.notify_all()

    def _drop(self, update_id: str) -> None:
        with self._changed:
            self._queued.pop(update_id, None)
            self._doubtful.discard(update_id)
            self._left.add(update_id)
            self._changed.notify_all()

    def _keep_in_step(self) -> None:
        while not self._closing.wait(self._reconcile_seconds):
            try:
                self._reconcile()
            except IcssError as error:
                _log.warning("updates are compared with their records later: %s", error)
            except Exception:  # noqa: BLE001 - the next look may succeed, and without looks updates get lost
                _log.exception("updates could not be compared with their records")

    def _reconcile(self) -> None:
        """Bring queue and records together."""
        self._ends.write()
        with self._changed:
            running = self._running
        if running is not None:
            self._records.note_reached(running.id, running.reached)
        with self._submitting:  # an update that is being accepted is in the records before it is in the queue
            with self._changed:
                self._left.clear()
            pending = self._records.pending()
            with self._changed:
                gone = set(self._queued) - {one.id for one in pending}
                if time.monotonic() > self._doubtful_until:
                    gone |= self._doubtful - {one.id for one in pending if one.is_free}  # their owners live
                for update_id in gone:
                    if self._running is None or update_id != self._running.id:
                        self._drop(update_id)
        for one in pending:
            self._compare(one)

    def _compare(self, one: PendingUpdate) -> None:
        """Do what the record of an update that has not ended asks for."""
        if self._ends.get(one.id) is not None:
            return
        with self._changed:
            if one.id in self._left:
                return  # the next list says what became of it
            if one.is_free:
                self._doubtful.discard(one.id)
                self._enqueue(one.id, one.accepted)
            wanted = one.id in self._queued
        if one.cancel_requested and wanted:
            with suppress(ConflictError):  # too late: it is being registered
                self.cancel(one.id, wait_seconds=0)

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closing.is_set() or (self._queued and not self._doubtful)
                )
                if self._closing.is_set():
                    return
                control = self._running = next(iter(self._queued.values()))
            try:
                self._carry_out(control)
            except Exception:  # noqa: BLE001 - such as MLflow away for too long: a later look takes it up
                _log.exception("update %s was put off", control.id)
            with self._changed:
                self._running = None
                self._drop(control.id)

    def _carry_out(self, control: UpdateControl) -> None:
        started = time.monotonic()
        with ExitStack() as held:
            try:
                lease = control.outlast(lambda: self._records.take(control.id))
            except CancelledError:
                if control.is_cancelled:
                    self._ends.keep(control.id, UpdateEnd(state="dismissed"), None)
                return
            if lease is None:
                return  # it has ended, or another process carries it out
            held.enter_context(lease)
            control.begin(lease)
            end = UpdateEnd(state="dismissed") if control.is_cancelled else self._end_of(control)
            if end is None:
                return
            held.pop_all()  # the lease is kept until the end is in the record
        self._ends.keep(control.id, end, lease, seconds=time.monotonic() - started)
        self._ends.write()

    def _end_of(self, control: UpdateControl) -> UpdateEnd | None:
        """Work on an update, and how it ended; None if it has not ended, and somebody else will go on."""
        begun = False
        try:
            order = control.outlast(lambda: self._records.order(control.id))
            attempt = control.outlast(lambda: self._records.start(control.id))
            begun = True
            _check_attempt(attempt)
            version = self._work(control.id, order, control)
        except CancelledError:
            if control.is_cancelled:
                return UpdateEnd(state="dismissed")
            if begun and not control.is_lost:
                self._interrupt(control.id)
            return None
        except LostOwnershipError as error:
            _log.warning("%s", error)
            return None
        except Exception as error:  # noqa: BLE001 - whatever happens ends this update, not the queue
            return UpdateEnd(state="failed", error=_detail(control.id, error))
        return UpdateEnd(state="successful", version=version)

    def _interrupt(self, update_id: str) -> None:
        try:
            self._records.interrupt(update_id)
        except TrackingError as error:
            _log.warning("update %s will look as if its process had died: %s", update_id, error)


def _check_attempt(attempt: int) -> None:
    """Give up an update that kills its process.

    Raises:
        TrainingError: it was begun often enough.
    """
    if attempt > MAX_ATTEMPTS:
        raise TrainingError(
            f"the process died {MAX_ATTEMPTS} times in a row while it carried this update out, and never "
            "got further than before; it is not tried again. If it ran out of memory, fewer or smaller "
            "crops will help"
        )


def _detail(update_id: str, error: Exception) -> ErrorDetail:
    """What the record says of an error: our own errors speak for themselves, others stay in the log."""
    if isinstance(error, IcssError):
        _log.warning("update %s failed: %s: %s", update_id, type(error).__name__, error)
        return ErrorDetail(type=type(error).__name__, message=str(error))
    _log.error("update %s failed", update_id, exc_info=error)
    message = f"the service failed; its log has the reason under id {update_id}"
    return ErrorDetail(type="InternalError", message=message, id=update_id)
