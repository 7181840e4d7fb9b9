"""End states of updates on their way into the records: one that cannot be written now is written later."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icss_core.errors import IcssError
from services.errors import LostOwnershipError, TrackingUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.ownership import Lease
    from services.serving.update_records import UpdateEnd, UpdateRecords

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Kept:
    end: UpdateEnd
    lease: Lease | None
    seconds: float


class UpdateEnds:
    """Keeps each end state until it is in the record. Safe to share between threads.

    Args:
        records: where they go.
        on_end: told each state that was written, and the seconds that the update took.
    """

    def __init__(self, records: UpdateRecords, on_end: Callable[[str, float], None]) -> None:
        self._records = records
        self._on_end = on_end
        self._lock = threading.Lock()  # guards the two below; not held while MLflow is asked
        self._kept: dict[str, _Kept] = {}
        self._being_written: set[str] = set()

    def keep(self, update_id: str, end: UpdateEnd, lease: Lease | None, *, seconds: float = 0.0) -> None:
        """Take charge of an end state; `write` writes it.

        Args:
            update_id: which update ended.
            end: how.
            lease: on the update, released once its end is written; None for one that nobody carried out,
                which was cancelled.
            seconds: that it took.
        """
        with self._lock:
            self._kept[update_id] = _Kept(end, lease, seconds)

    def get(self, update_id: str) -> UpdateEnd | None:
        """The end of an update that is not in its record yet."""
        with self._lock:
            kept = self._kept.get(update_id)
        return None if kept is None else kept.end

    def write(self) -> None:
        """Write what is kept; what MLflow does not take now stays, for the next time."""
        with self._lock:
            waiting = [update_id for update_id in self._kept if update_id not in self._being_written]
            self._being_written.update(waiting)
        for update_id in waiting:
            done = False
            try:
                done = self._write(update_id, self._kept[update_id])
            finally:
                with self._lock:
                    self._being_written.remove(update_id)
                    if done:
                        del self._kept[update_id]

    def _write(self, update_id: str, kept: _Kept) -> bool:
        """Whether an end state needs no more keeping."""
        try:
            if kept.lease is None:
                if not self._records.dismiss(update_id):
                    return True
            else:
                kept.lease.check()
                self._records.end(update_id, kept.end)
                kept.lease.release()
            self._on_end(kept.end.state, kept.seconds)
        except TrackingUnavailableError as error:
            _log.warning("the end of update %s (%s) is written later: %s", update_id, kept.end.state, error)
            return False
        except LostOwnershipError as error:
            _log.warning("update %s is another process's now: %s", update_id, error)
        except IcssError:  # refused for good, such as where somebody deleted the run
            _log.exception("the end of update %s (%s) cannot be written", update_id, kept.end.state)
            if kept.lease is not None:
                kept.lease.release()
        return True
