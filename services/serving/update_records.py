"""The record of an update: one MLflow run, written before the update is acknowledged.

- tag `icss.status`: accepted, running, successful, failed, dismissed. It is written last, so a run without
  it was never acknowledged;
- other tags: model, base version, key, fingerprint, owner, result version, error;
- params: the order without its clicks, and the preset's numbers;
- `order.json`, `clicks.geojson`: the order as accepted;
- metrics: the loss and its terms, by step;
- `result.json`, `pictures/`: forgetting report, warnings, pictures; written before the network is registered.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict

from services.errors import UpdateNotFoundError
from services.serving.orders import UpdateOrder
from services.serving.responses import ErrorDetail, UpdateState, UpdateStatus
from services.tracking import UPDATES

if TYPE_CHECKING:
    from services.tracking import FinalStatus, RunRecord, Tracking

PENDING: Final[tuple[UpdateState, ...]] = ("accepted", "running")

_STATUS: Final = "icss.status"
_ENDS: Final[dict[UpdateState, FinalStatus]] = {
    "successful": "FINISHED",
    "failed": "FAILED",
    "dismissed": "KILLED",
}
_MESSAGES: Final[dict[str, str]] = {
    "accepted": "waiting for its turn",
    "running": "running",
    "dismissed": "cancelled on request; nothing was registered",
}
_MAX_TAG = 4000  # characters; every MLflow store takes 5000


class UpdateResult(BaseModel):
    """What an update found out, as written to `result.json`."""

    model_config = ConfigDict(frozen=True)

    forgetting: dict[str, Any]
    warnings: list[str]
    seconds: float


class UpdateRecords:
    """Writes and reads the records. Blocking; safe to share between threads."""

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking

    def create(self, order: UpdateOrder, *, key: str, owner: str) -> str:
        """Write an accepted update down and return its id. When this returns, no crash can lose it.

        Args:
            order: what was accepted.
            key: what makes a second request the same as this one.
            owner: id of the process that will carry it out.

        Raises:
            TrackingError: the record could not be written; the update is not accepted.
        """
        summary = order.model_dump(mode="json", exclude={"clicks", "parameters", "overrides"})
        tags = {
            "icss.kind": "update",
            "icss.model": order.model,
            "icss.base_version": str(order.base_version),
            "icss.class": order.new_class.name,
            "icss.key": key,
            "icss.fingerprint": order.fingerprint(),
            "icss.owner": owner,
            "icss.summary": json.dumps(summary),
        }
        name = f"{order.model}: {order.new_class.name}"
        update_id = self._tracking.create_run(UPDATES, name=name, tags=tags)
        self._tracking.write_text(update_id, "order.json", order.model_dump_json(indent=2))
        self._tracking.write_json(update_id, "clicks.geojson", order.clicks)
        self._tracking.log_parameters(update_id, {**summary, "parameters": order.parameters})
        self._mark(update_id, "accepted")
        return update_id

    def order(self, update_id: str) -> UpdateOrder:
        """The order of an update.

        Raises:
            TrackingError: it cannot be read.
        """
        return UpdateOrder.model_validate(self._tracking.read_json(update_id, "order.json"))

    def status(self, update_id: str) -> UpdateStatus:
        """The recorded state of an update, with the result of a successful one.

        Raises:
            UpdateNotFoundError: no update has this id.
        """
        status = _status(self._run(update_id))
        if status.status != "successful":
            return status
        result = self.result(update_id)
        return status.model_copy(update={"forgetting": result.forgetting, "warnings": result.warnings})

    def statuses(self, *, model: str | None, limit: int) -> list[UpdateStatus]:
        """The recorded states of updates, newest first, without their results."""
        tags = {"icss.kind": "update"} | ({} if model is None else {"icss.model": model})
        runs = [run for run in self._tracking.find(UPDATES, tags=tags) if _STATUS in run.tags]
        return [_status(run) for run in reversed(runs[-limit:])]

    def pending(self) -> list[str]:
        """Ids of the updates that were accepted and have not ended, oldest first."""
        return [
            run.run_id for run in self._tracking.find(UPDATES, tags={"icss.kind": "update", _STATUS: PENDING})
        ]

    def find(self, key: str) -> tuple[UpdateStatus, str] | None:
        """The newest update with this key and its order's fingerprint, or None."""
        runs = [run for run in self._tracking.find(UPDATES, tags={"icss.key": key}) if _STATUS in run.tags]
        return (_status(runs[-1]), runs[-1].tags["icss.fingerprint"]) if runs else None

    def claim(self, update_id: str, owner: str) -> None:
        """Make a process the one that carries the update out; whoever did so before must stop."""
        self._tracking.set_tags(update_id, {"icss.owner": owner})

    def owner(self, update_id: str) -> str:
        """Id of the process that carries the update out."""
        return self._run(update_id).tags["icss.owner"]

    def start(self, update_id: str) -> int:
        """Note that the work has begun; returns the how-manieth time that is."""
        attempt = int(self._run(update_id).tags.get("icss.attempts", 0)) + 1
        self._mark(update_id, "running", {"icss.started": _now(), "icss.attempts": str(attempt)})
        return attempt

    def request_cancel(self, update_id: str) -> None:
        """Note that the update is to be cancelled, so that a restart does not forget it."""
        self._tracking.set_tags(update_id, {"icss.cancel": "requested"})

    def cancel_requested(self, update_id: str) -> bool:
        """Whether somebody asked to cancel the update."""
        return "icss.cancel" in self._run(update_id).tags

    def write_result(self, update_id: str, result: UpdateResult) -> None:
        """Write what the update found out; this happens before the network is registered."""
        self._tracking.write_text(update_id, "result.json", result.model_dump_json(indent=2))

    def result(self, update_id: str) -> UpdateResult:
        """What a finished update found out."""
        return UpdateResult.model_validate(self._tracking.read_json(update_id, "result.json"))

    def succeed(self, update_id: str, version: int) -> None:
        """End the update with the version it made."""
        self._end(update_id, "successful", {"icss.result_version": str(version)})

    def fail(self, update_id: str, error: ErrorDetail) -> None:
        """End the update with an error."""
        tags = {"icss.error_type": error.type, "icss.error_message": error.message[:_MAX_TAG]}
        self._end(update_id, "failed", tags | ({"icss.incident": error.id} if error.id else {}))

    def dismiss(self, update_id: str) -> None:
        """End the update as cancelled."""
        self._end(update_id, "dismissed", {})

    def _end(self, update_id: str, state: UpdateState, tags: dict[str, str]) -> None:
        self._mark(update_id, state, {**tags, "icss.finished": _now()})
        self._tracking.finish(update_id, _ENDS[state])

    def _mark(self, update_id: str, state: UpdateState, tags: dict[str, str] | None = None) -> None:
        self._tracking.set_tags(update_id, {**(tags or {}), _STATUS: state, "icss.updated": _now()})

    def _run(self, update_id: str) -> RunRecord:
        run = self._tracking.get(update_id)
        if run is None or run.tags.get("icss.kind") != "update" or _STATUS not in run.tags:
            raise UpdateNotFoundError(f"no update has the id {update_id!r}; GET /v1/updates lists them")
        return run


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _status(run: RunRecord) -> UpdateStatus:
    tags = run.tags
    summary = json.loads(tags["icss.summary"])
    state = tags[_STATUS]
    version = tags.get("icss.result_version")
    error = None
    if state == "failed":
        error = ErrorDetail(
            type=tags["icss.error_type"], message=tags["icss.error_message"], id=tags.get("icss.incident")
        )
    message = (
        error.message if error else _MESSAGES.get(state, f"made version {version} of {tags['icss.model']}")
    )
    return UpdateStatus.model_validate(
        {
            "id": run.run_id,
            "status": state,
            "message": message,
            "created": run.started,
            "started": tags.get("icss.started"),
            "finished": tags.get("icss.finished"),
            "updated": tags.get("icss.updated"),
            "progress": 100 if state == "successful" else 0,
            "model": summary["model"],
            "base_version": summary["base_version"],
            "new_class": summary["new_class"],
            "preset": summary["preset"],
            "image": summary["image"],
            "clicks": summary["click_counts"],
            "result_version": version,
            "error": error,
        }
    )
