"""One owner of a run at a time: a lease with a heartbeat, and a number that fences off earlier owners."""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import threading
import time
from typing import TYPE_CHECKING, Final, Self

from services.errors import LostOwnershipError, TrackingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from services.tracking import RunRecord, Tracking

_logger = logging.getLogger(__name__)

LEASE_SECONDS: Final = 30.0
"""Time to live: whoever gives no sign of life for so long may be taken over."""

_BEATS: Final = 3  # in a time to live
_GENERATION: Final = "lease."  # params, each followed by its number
_BEAT: Final = "icss.lease"  # tag
_RELEASED: Final = "released"


def generation_of(record: RunRecord) -> int:
    """How many owners a run has had; the highest generation is the present or last one's."""
    numbers = [key.removeprefix(_GENERATION) for key in record.params if key.startswith(_GENERATION)]
    return max((int(one) for one in numbers if one.isdecimal()), default=0)


def check_generation(tracking: Tracking, run_id: str, generation: int) -> None:
    """Make sure that no later owner has taken a run over; for processes that work for an owner.

    Raises:
        LostOwnershipError: one has, or the run was deleted.
        TrackingError: the server did not answer, so that nobody knows.
    """
    record = tracking.get(run_id)
    latest = 0 if record is None else generation_of(record)
    if latest != generation:
        raise LostOwnershipError(
            f"run {run_id} was taken over by another process (owner {latest}; this was owner {generation}), "
            "because this one gave no sign of life; it gives up"
        )


class Lease:
    """Ownership of a run while it is entered; made by `take` and `acquire`.

    A thread shows that the owner lives. Leaving lets the next take over at once.
    """

    def __init__(self, tracking: Tracking, run_id: str, generation: int, *, ttl: float) -> None:
        self.run_id = run_id
        self.generation = generation
        """Fencing number: later owners have higher ones."""
        self._tracking = tracking
        self._ttl = ttl
        self._beats = 0
        self._lost = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, name=f"lease {run_id}", daemon=True)

    def check(self) -> None:
        """Make sure that the run is still owned; call it before whatever others would see.

        Raises:
            LostOwnershipError: another process has taken over.
            TrackingError: the server did not answer, so that nobody knows.
        """
        try:
            check_generation(self._tracking, self.run_id, self.generation)
        except LostOwnershipError:
            self._lost.set()
            raise

    @property
    def is_lost(self) -> bool:
        """Whether the last heartbeat or check found another owner; asks nobody, so it may be polled."""
        return self._lost.is_set()

    def beat(self) -> None:
        """Show that the owner lives; the thread does so three times in the time to live."""
        self._beats += 1
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())  # for people; nobody compares clocks
        self._tracking.set_tags(self.run_id, {_BEAT: f"{self.generation} {self._beats} {now}"})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let the next take over at once. A server that is away delays it by the time to live."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._lost.is_set():
            return
        try:
            self._tracking.set_tags(self.run_id, {_BEAT: f"{self.generation} {_RELEASED}"})
        except TrackingError as failure:
            _logger.warning("run %s is free only after %.0f s: %s", self.run_id, self._ttl, failure)

    def _live(self) -> None:
        while not self._stop.wait(self._ttl / _BEATS):
            try:
                self.check()
                self.beat()
            except LostOwnershipError as error:
                _logger.warning("%s", error)
                return
            except TrackingError as error:  # the server may be away for a moment, for others as well
                _logger.warning("no sign of life from the owner of run %s: %s", self.run_id, error)


class LeaseWatch:
    """Tells which runs may be taken, by what changes under its eyes: clocks of two machines never meet.

    Args:
        ttl: seconds for which a heartbeat may stay the same.
    """

    def __init__(self, ttl: float = LEASE_SECONDS) -> None:
        self._ttl = ttl
        self._seen: dict[str, tuple[tuple[int, str], float]] = {}

    def may_take(self, record: RunRecord) -> bool:
        """Whether nobody owns a run: never owned, released, or its heartbeat has stopped."""
        generation = generation_of(record)
        number, _, beat = record.tags.get(_BEAT, "").partition(" ")
        if number != str(generation):
            beat = ""  # of an owner before
        if generation == 0 or beat == _RELEASED:
            self._seen.pop(record.run_id, None)
            return True
        state, now = (generation, beat), time.monotonic()
        seen = self._seen.get(record.run_id)
        if seen is None or seen[0] != state:
            self._seen[record.run_id] = (state, now)
            return False
        return now - seen[1] >= self._ttl


def take(tracking: Tracking, record: RunRecord, *, ttl: float = LEASE_SECONDS) -> Lease | None:
    """The lease on a run that `LeaseWatch.may_take` allows, or None if somebody else was faster.

    Args:
        tracking: the MLflow server.
        record: as it was judged; an owner that came later wins.
        ttl: the same for all who look after the run, in seconds.

    Raises:
        TrackingError: the server refused or did not answer.
    """
    token = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}"
    generation = generation_of(record) + 1
    if tracking.write_once(record.run_id, f"{_GENERATION}{generation}", token) != token:
        return None
    lease = Lease(tracking, record.run_id, generation, ttl=ttl)
    lease.beat()
    return lease


def acquire(
    tracking: Tracking,
    run_id: str,
    *,
    is_done: Callable[[RunRecord], bool] = lambda _: False,
    ttl: float = LEASE_SECONDS,
) -> Lease | None:
    """Wait until a run is free and take it; None if it is done, by whoever had it.

    Raises:
        TrackingError: there is no such run, or the server did not answer.
    """
    watch, waiting = LeaseWatch(ttl), False
    while True:
        record = _record(tracking, run_id)
        if is_done(record):
            return None
        if watch.may_take(record):
            lease = take(tracking, record, ttl=ttl)
            if lease is not None:
                # the owner before may have finished between our look and our taking
                if not is_done(_record(tracking, run_id)):
                    return lease
                lease.release()
                return None
        elif not waiting:
            _logger.info("%s is being worked on by another process; waiting for it", record.name)
            waiting = True
        time.sleep(random.uniform(0.5, 1.0) * min(2.0, ttl / _BEATS))  # noqa: S311 - only to come apart


def _record(tracking: Tracking, run_id: str) -> RunRecord:
    record = tracking.get(run_id)
    if record is None:
        raise TrackingError(f"MLflow has no run {run_id}")
    return record
