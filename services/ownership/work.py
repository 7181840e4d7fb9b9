"""The record of work on an owned run: that it is going on, and how it ended.

Tag `icss.status`: running, successful, failed (with `icss.error`), dismissed (somebody asked it to stop), or
interrupted (by its user, or by the end of its process). A process that is killed leaves "running" behind; its
lease, which nobody renews, tells.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from icss_core.errors import CancelledError, IcssError
from services.errors import LostOwnershipError
from services.tracking import MAX_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from services.ownership.lease import Lease
    from services.tracking import FinalStatus, Tracking

_logger = logging.getLogger(__name__)
STATUS: Final = "icss.status"
ERROR: Final = "icss.error"


class Work:
    """Work on a run by its owner; made by `work_on`."""

    def __init__(self, tracking: Tracking, lease: Lease) -> None:
        self.run_id = lease.run_id
        self.lease = lease
        self._tracking = tracking

    def check(self) -> None:
        """See `Lease.check`."""
        self.lease.check()

    def succeed(self, tags: Mapping[str, str] | None = None) -> None:
        """Write that all is done, with what came of it.

        Raises:
            LostOwnershipError: another process has taken over.
            TrackingError: the server refused or did not answer.
        """
        self._end("successful", "FINISHED", tags or {})

    def fail(self, reason: str) -> None:
        """Write that the work cannot go on; raises as `succeed` does."""
        self._end("failed", "FAILED", {ERROR: reason[:MAX_TAG]})

    def interrupt(self) -> None:
        """Write that the work is not done, and may go on later; raises as `succeed` does."""
        self._end("interrupted", "KILLED", {})

    def _end(self, status: str, end: FinalStatus, tags: Mapping[str, str]) -> None:
        self.check()
        self._tracking.set_tags(self.run_id, {**tags, STATUS: status})
        self._tracking.finish(self.run_id, end)

    def note(self, error: BaseException, *, interrupted: bool) -> None:
        """Write how the work ended without success, if that can be written."""
        try:
            if isinstance(error, CancelledError):
                self._end("dismissed", "KILLED", {})
            elif isinstance(error, Exception):
                self.fail(f"{type(error).__name__}: {error}")
            elif interrupted:
                self.interrupt()
        except IcssError as failure:
            _logger.warning("the end of run %s is not recorded: %s", self.run_id, failure)


@contextmanager
def work_on(
    tracking: Tracking, lease: Lease, *, tags: Mapping[str, str] | None = None, interrupted: bool = True
) -> Iterator[Work]:
    """Own a run and say in it that it is worked on; whoever leaves by an error has failed.

    Args:
        tracking: the MLflow server.
        lease: on the run; entered here.
        tags: to be set at the beginning.
        interrupted: whether to write that the work was interrupted; without, it stays as running.

    Raises:
        TrackingError: the beginning could not be written.
    """
    with lease:
        work = Work(tracking, lease)
        tracking.reopen(work.run_id)
        tracking.set_tags(work.run_id, {**(tags or {}), STATUS: "running", ERROR: ""})
        _logger.info("this is run %s", tracking.address(work.run_id))
        try:
            yield work
        except LostOwnershipError:
            raise  # the run is somebody else's
        except BaseException as error:
            work.note(error, interrupted=interrupted)
            raise
