"""The record of an update: one MLflow run, written before the update is acknowledged.

- tag `icss.status`: accepted, running, successful, failed, dismissed. It is written last, so a run without
  it was never acknowledged;
- other tags: key and fingerprint of the request, what a list shows, attempts, result version, error;
- params: the order without its clicks, how many clicks each class got, and the preset's numbers. Names that
  people give are values here, never keys: MLflow refuses most characters in a key;
- params and tags of `services.ownership`: which process carries the update out;
- `order.json`, `clicks.geojson`: the order as accepted;
- metrics: the loss and its terms, by iteration;
- `result.json`, `pictures/`: forgetting report, warnings, pictures; written before the network is registered.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict

from services.errors import ConflictError, OutdatedRecordError, UpdateNotFoundError
from services.ownership import LeaseWatch, find_or_create, take
from services.serving.responses import FINISHED, ErrorDetail, UpdateState
from services.serving.update_attempts import begun, interrupted, reached
from services.serving.update_files import read_order, read_result, write_order, write_result
from services.serving.update_status import STATUS, UpdateSummary, click_parameters, status_of
from services.tracking import MAX_TAG, UPDATES

if TYPE_CHECKING:
    from services.ownership import Lease
    from services.serving.orders import UpdateOrder
    from services.serving.responses import UpdateStatus
    from services.serving.update_files import RecordedResult
    from services.tracking import FinalStatus, RunRecord, Tracking

_RUN_ID: Final = re.compile(r"[0-9a-f]{32}")
_ENDS: Final[dict[UpdateState, FinalStatus]] = {
    "successful": "FINISHED",
    "failed": "FAILED",
    "dismissed": "KILLED",
}


class UpdateEnd(BaseModel):
    """How an update ended."""

    model_config = ConfigDict(frozen=True)

    state: Literal["successful", "failed", "dismissed"]
    version: int | None = None
    """The version it made, of a successful one."""
    error: ErrorDetail | None = None
    """Of a failed one."""


class PendingUpdate(BaseModel):
    """An update that was accepted and has not ended, as a look at all of them shows it."""

    model_config = ConfigDict(frozen=True)

    id: str
    accepted: datetime
    cancel_requested: bool
    is_free: bool
    """Whether nobody carries it out."""


class UpdateRecords:
    """Writes and reads the records. Blocking; safe to share between threads.

    Args:
        tracking: the MLflow server.
        lease_seconds: see `Settings.lease_seconds`.
    """

    def __init__(self, tracking: Tracking, *, lease_seconds: float) -> None:
        self._tracking = tracking
        self.lease_seconds = lease_seconds
        self._watch = LeaseWatch(lease_seconds)

    def repeated(self, key: str | None, request: str) -> str | None:
        """Id of the update that the same request started before, or None.

        With a key it is the update of that key, however long ago. Without one it is an equal request's that
        has not ended: pressing twice does not start two, and asking again later does.

        Args:
            key: of the request, chosen by whoever sent it.
            request: its fingerprint.

        Raises:
            ConflictError: the key belongs to another request.
        """
        tags = _identity(key, request)
        runs = [run for run in self._tracking.find(UPDATES, tags=tags) if STATUS in run.tags]
        runs = [run for run in runs if _is_same(run, key)]
        return _checked(runs[-1], key, request) if runs else None

    def create(self, order: UpdateOrder, *, key: str | None) -> str:
        """Write an accepted update down and return its id. When this returns, no crash can lose it.

        If the same request is written down at this moment by another process too, both return the same id.

        Args:
            order: what was accepted.
            key: see `repeated`.

        Raises:
            ConflictError: the key belongs to another request.
            TrackingError: the record could not be written; the update is not accepted.
        """
        summary = UpdateSummary(
            model=order.model,
            base_version=order.base_version,
            new_class=order.new_class,
            preset=order.preset.name,
            image=order.image,
            seed=order.seed,
        ).model_dump(mode="json")
        parameters = {
            **summary,
            "crs": order.crs,
            "click_counts": click_parameters(order.click_counts),
            "parameters": order.preset.model_dump(mode="json"),
        }

        def fill(update_id: str) -> None:
            write_order(self._tracking, update_id, order)
            self._tracking.log_parameters(update_id, parameters)

        update_id = find_or_create(
            self._tracking,
            UPDATES,
            identity=_identity(key, order.request),
            name=f"{order.model}: {order.new_class.name}",
            tags={
                "icss.kind": "update",
                "icss.model": order.model,
                "icss.fingerprint": order.request,
                "icss.summary": json.dumps(summary),
            },
            fill=fill,
            counts=lambda run: _is_same(run, key),
        )
        run = self._tracking.get(update_id)
        if run is None:
            raise UpdateNotFoundError(f"update {update_id} was deleted while it was being accepted")
        if STATUS not in run.tags:
            self._mark(update_id, "accepted")
        return _checked(run, key, order.request)

    def order(self, update_id: str) -> UpdateOrder:
        """The order of an update.

        Raises:
            OutdatedRecordError: another version of the service wrote it, which this one cannot follow.
            TrackingError: it cannot be read.
        """
        return read_order(self._tracking, update_id)

    def status(self, update_id: str) -> UpdateStatus:
        """The recorded state of an update, with the result of a successful one.

        Raises:
            UpdateNotFoundError: no update has this id.
        """
        status = status_of(self._run(update_id))
        if status.status != "successful":
            return status
        try:
            result = self.result(update_id)
        except OutdatedRecordError as error:
            return status.model_copy(update={"warnings": [str(error)]})
        return status.model_copy(update={"forgetting": result.forgetting, "warnings": result.warnings})

    def statuses(self, *, model: str | None, limit: int) -> list[UpdateStatus]:
        """The recorded states of updates, newest first, without their results."""
        tags = {"icss.kind": "update"} | ({} if model is None else {"icss.model": model})
        runs = [run for run in self._tracking.find(UPDATES, tags=tags) if STATUS in run.tags]
        return [status_of(run) for run in reversed(runs[-limit:])]

    def pending(self) -> list[PendingUpdate]:
        """The updates that were accepted and have not ended, oldest first.

        Whether the owner of one is gone shows only when looking repeatedly, over `lease_seconds`.
        """
        runs = self._tracking.find(UPDATES, tags={"icss.kind": "update"}, without={STATUS: FINISHED})
        return [
            PendingUpdate(
                id=run.run_id,
                accepted=run.started,
                cancel_requested="icss.cancel" in run.tags,
                is_free=self._watch.may_take(run),
            )
            for run in runs
        ]

    def take(self, update_id: str) -> Lease | None:
        """Become the one that carries an update out; None if it has ended or somebody else does.

        Raises:
            UpdateNotFoundError: no update has this id.
        """
        run = self._run(update_id)
        if run.tags[STATUS] in FINISHED or not self._watch.may_take(run):
            return None
        lease = take(self._tracking, run, ttl=self.lease_seconds)
        if lease is not None and self._run(update_id).tags[STATUS] in FINISHED:
            lease.release()  # its owner before ended it between our look and our taking
            return None
        return lease

    def dismiss(self, update_id: str) -> bool:
        """End an update as cancelled that nobody carries out; somebody who does is asked to stop.

        Returns whether it was ended here.

        Raises:
            UpdateNotFoundError: no update has this id.
        """
        lease = self.take(update_id)
        if lease is None:
            if self._run(update_id).tags[STATUS] not in FINISHED:
                self.request_cancel(update_id)
            return False
        try:
            self.end(update_id, UpdateEnd(state="dismissed"))
        finally:
            lease.release()
        return True

    def start(self, update_id: str) -> int:
        """Note that the work begins; returns how many attempts in a row that makes without progress.

        See `update_attempts`.
        """
        attempt, tags = begun(self._run(update_id).tags)
        self._mark(update_id, "running", {"icss.started": _now(), **tags})
        return attempt

    def note_reached(self, update_id: str, now: float) -> None:
        """Note how far an update has come (`UpdateControl.reached`), if that is further than before."""
        if tags := reached(self._run(update_id).tags, now):
            self._tracking.set_tags(update_id, tags)

    def interrupt(self, update_id: str) -> None:
        """Note that the work on an update was stopped in good order, which is no failed attempt."""
        self._mark(update_id, "accepted", interrupted(self._run(update_id).tags))

    def request_cancel(self, update_id: str) -> None:
        """Note that the update is to be cancelled; whoever carries it out sees it."""
        self._tracking.set_tags(update_id, {"icss.cancel": "requested"})

    def write_result(self, update_id: str, result: RecordedResult) -> None:
        """Write what the update showed; this happens before the network is registered."""
        write_result(self._tracking, update_id, result)

    def result(self, update_id: str) -> RecordedResult:
        """What a finished update showed.

        Raises:
            OutdatedRecordError: another version of the service wrote it, which this one cannot read.
        """
        return read_result(self._tracking, update_id)

    def end(self, update_id: str, end: UpdateEnd) -> None:
        """Write how the update ended; writing the same twice is harmless."""
        tags = {"icss.finished": _now()}
        if end.version is not None:
            tags["icss.result_version"] = str(end.version)
        if end.error is not None:
            tags["icss.error_type"] = end.error.type
            tags["icss.error_message"] = end.error.message[:MAX_TAG]
            if end.error.id is not None:
                tags["icss.incident"] = end.error.id
        self._mark(update_id, end.state, tags)
        self._tracking.finish(update_id, _ENDS[end.state])

    def _mark(self, update_id: str, state: UpdateState, tags: dict[str, str] | None = None) -> None:
        self._tracking.set_tags(update_id, {**(tags or {}), STATUS: state, "icss.updated": _now()})

    def _run(self, update_id: str) -> RunRecord:
        run = self._tracking.get(update_id) if _RUN_ID.fullmatch(update_id) else None
        if run is None or run.tags.get("icss.kind") != "update" or STATUS not in run.tags:
            raise UpdateNotFoundError(f"no update has the id {update_id!r}; GET /v1/updates lists them")
        return run


def _identity(key: str | None, request: str) -> dict[str, str]:
    """Tags by which a record is found again when its request comes again."""
    return {"icss.fingerprint": request} if key is None else {"icss.key": key}


def _is_same(run: RunRecord, key: str | None) -> bool:
    """Whether a run with the right identity still stands for the request."""
    return key is not None or run.tags.get(STATUS) not in FINISHED


def _checked(run: RunRecord, key: str | None, request: str) -> str:
    """The id of a run that is to stand for a request.

    Raises:
        ConflictError: it stands for another.
    """
    if run.tags["icss.fingerprint"] != request:
        raise ConflictError(f"the key {key!r} belongs to update {run.run_id}, which was another request")
    return run.run_id


def _now() -> str:
    return datetime.now(UTC).isoformat()
