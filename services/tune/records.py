"""The record of a sweep: one MLflow run with a child for each trial.

Tag `icss.status` of a trial: running, successful, failed, or stopped (by the scheduler of the sweep that
`icss.stopped_by` names). A trial belongs to every sweep that asks the same; its parent is the first.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import BaseModel

from services.errors import ConflictError
from services.tracking import SWEEPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.tracking import Tracking
    from services.tune.spec import SweepSpec
    from services.tune.trial import Trial

_RESULTS: Final = "results.json"
Result = TypeVar("Result", bound=BaseModel)
_MAX_TAG: Final = 4000  # characters; every MLflow store takes 5000


class SweepRecords:
    """Writes and reads the runs. Blocking.

    Args:
        tracking: the MLflow server.
        revision: of the code that runs now.
    """

    def __init__(self, tracking: Tracking, *, revision: str) -> None:
        self.tracking = tracking
        self._revision = revision
        self._owner = secrets.token_hex(8)

    # the sweep

    def open_sweep(self, spec: SweepSpec, trials: Sequence[Trial]) -> tuple[str, str]:
        """Run and identity of a sweep: the run it has, open again, or a new one."""
        asked = json.dumps([spec.name, spec.scheduler.kind, sorted(trial.trial_id for trial in trials)])
        identity = hashlib.sha256(asked.encode()).hexdigest()[:16]
        known = self.tracking.find(SWEEPS, tags={"icss.kind": "sweep", "icss.sweep": identity})
        if known:
            run_id = known[-1].run_id
            self.tracking.reopen(run_id)
        else:
            tags = {"icss.kind": "sweep", "icss.sweep": identity, "mlflow.note.content": spec.question}
            run_id = self.tracking.create_run(SWEEPS, name=spec.name, tags=tags)
            numbers = spec.model_dump(mode="json", exclude={"variants", "pairs", "tasks"})
            self.tracking.log_parameters(run_id, numbers, file="parameters.json")
            self.tracking.write_json(run_id, "sweep.json", spec.model_dump(mode="json"))
        self.tracking.set_tags(run_id, {"icss.status": "running", "icss.revision": self._revision})
        return run_id, identity

    def close_sweep(self, run_id: str, status: str) -> None:
        """End a sweep's run: successful, failed or interrupted."""
        ends = {"successful": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
        self.tracking.set_tags(run_id, {"icss.status": status})
        self.tracking.finish(run_id, ends[status])  # type: ignore[arg-type]  # one of its three

    # its trials

    def run_of(self, trial: Trial, *, parent: str) -> str:
        """The run of a trial: the one it has, whatever sweep began it, or a new one below `parent`."""
        known = self.tracking.find(SWEEPS, tags={"icss.trial": trial.trial_id})
        if known:
            return known[-1].run_id
        tags = {
            "mlflow.parentRunId": parent,
            "icss.kind": "trial",
            "icss.trial": trial.trial_id,
            "icss.variant": trial.variant,
            "icss.task": trial.task,
        }
        run_id = self.tracking.create_run(SWEEPS, name=trial.title, tags=tags)
        self.tracking.log_parameters(run_id, trial.model_dump(mode="json"), file="trial.json")
        return run_id

    def status(self, run_id: str) -> str:
        """Of a trial; empty before it has begun."""
        return self._tags(run_id).get("icss.status", "")

    def done(self, run_id: str, identity: str) -> bool:
        """Whether a sweep has nothing left to do for a trial: it was done, or this very sweep gave it up."""
        tags = self._tags(run_id)
        status = tags.get("icss.status", "")
        return status == "successful" or (status == "stopped" and tags.get("icss.stopped_by") == identity)

    def start(self, run_id: str) -> None:
        """A process begins, or goes on with, a trial. Whoever did so before may not write any more."""
        revisions = [one for one in self._tags(run_id).get("icss.revision", "").split(", ") if one]
        if self._revision not in revisions:
            revisions.append(self._revision)
        self.tracking.reopen(run_id)
        self.tracking.set_tags(
            run_id,
            {
                "icss.status": "running",
                "icss.error": "",
                "icss.owner": self._owner,
                "icss.revision": ", ".join(revisions)[:_MAX_TAG],
            },
        )

    def write(self, run_id: str, results: Sequence[BaseModel], *, done: int | None = None) -> None:
        """Write all results so far.

        Args:
            run_id: of the trial.
            results: the kind that the sweep has.
            done: images, or steps, that they are of; by default one each.

        Raises:
            ConflictError: another process has started the trial since.
        """
        if self._tags(run_id).get("icss.owner") != self._owner:
            raise ConflictError(f"trial {run_id} was started by another process; this one gives up")
        self.tracking.write_json(run_id, _RESULTS, [one.model_dump(mode="json") for one in results])
        self.tracking.set_tags(run_id, {"icss.done": str(len(results) if done is None else done)})

    def done_of(self, run_id: str) -> int:
        """Images, or steps, that a trial has written results of."""
        return int(self._tags(run_id).get("icss.done", "0"))

    def read(self, run_id: str, kind: type[Result]) -> list[Result]:
        """What a trial has written so far."""
        if not self.done_of(run_id):
            return []
        return [kind.model_validate(one) for one in self.tracking.read_json(run_id, _RESULTS)]

    def revisions(self, run_id: str) -> list[str]:
        """Revisions of the code that worked on a trial."""
        return [one for one in self._tags(run_id).get("icss.revision", "").split(", ") if one]

    def succeed(self, run_id: str) -> None:
        """A trial has done everything."""
        self.tracking.set_tags(run_id, {"icss.status": "successful"})
        self.tracking.finish(run_id, "FINISHED")

    def fail(self, run_id: str, reason: str) -> None:
        """A trial cannot go on."""
        self.tracking.set_tags(run_id, {"icss.status": "failed", "icss.error": reason[:_MAX_TAG]})
        self.tracking.finish(run_id, "FAILED")

    def stop(self, run_id: str, identity: str) -> None:
        """A sweep's scheduler gave a trial up."""
        self.tracking.set_tags(run_id, {"icss.status": "stopped", "icss.stopped_by": identity})
        self.tracking.finish(run_id, "KILLED")

    def _tags(self, run_id: str) -> dict[str, str]:
        record = self.tracking.get(run_id)
        return {} if record is None else record.tags
