"""The record of a sweep: an MLflow run with a child run for each trial. A run has one owner at a time.

The tag `icss.status` of a trial is one of `services.ownership.work`, or "stopped": by the scheduler of the
sweep that `icss.stopped_by` names. Sweeps that ask for the same trial share its run, whose parent is the
first of them. While one of them works on it the others wait, and one takes over if that process dies.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from services.ownership import STATUS, acquire, find_or_create, work_on
from services.settings import LEASE_SECONDS
from services.tracking import MAX_TAG, SWEEPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel

    from services.ownership import Work
    from services.tracking import RunRecord, Tracking
    from services.tune.answer import AnyResult
    from services.tune.spec import SweepSpec
    from services.tune.trial import Trial

ENDED: Final = ("successful", "failed", "stopped")
"""States of a trial that a sweep need not wait for."""
_RESULTS: Final = "results.json"
_STOPPED_BY: Final = "icss.stopped_by"


class SweepRecords:
    """Writes and reads the runs of sweeps and trials; blocks until the server answers.

    Args:
        tracking: the MLflow server.
        revision: of the code that runs now.
        ttl: of leases, in seconds; see `Settings.lease_seconds`.
    """

    def __init__(self, tracking: Tracking, *, revision: str, ttl: float = LEASE_SECONDS) -> None:
        self.tracking = tracking
        self._ttl = ttl
        self._revision = revision

    # the sweep

    def sweep(self, spec: SweepSpec, trials: Sequence[Trial]) -> tuple[str, str]:
        """Run id and identity of a sweep; its run is made if there is none."""
        described = json.dumps([spec.name, spec.scheduler.kind, sorted(trial.trial_id for trial in trials)])
        identity = hashlib.sha256(described.encode()).hexdigest()[:16]

        def fill(run_id: str) -> None:
            numbers = spec.model_dump(mode="json", exclude={"variants", "pairs", "protocols", "cases"})
            self.tracking.log_parameters(run_id, numbers, file="parameters.json")
            self.tracking.write_json(run_id, "sweep.json", spec.model_dump(mode="json"))

        run_id = find_or_create(
            self.tracking,
            SWEEPS,
            identity={"icss.kind": "sweep", "icss.sweep": identity},
            name=spec.name,
            tags={"mlflow.note.content": spec.question},
            fill=fill,
        )
        return run_id, identity

    @contextmanager
    def working_on_sweep(self, run_id: str) -> Iterator[Work]:
        """Wait until nobody else owns the sweep, then own it."""
        lease = acquire(self.tracking, run_id, ttl=self._ttl)
        with work_on(self.tracking, lease, tags={"icss.revision": self._revision}) as work:
            yield work

    # its trials

    def run_of(self, trial: Trial, *, parent: str) -> str:
        """Run id of a trial, whichever sweep began it; its run is made below `parent` if there is none."""

        def fill(run_id: str) -> None:
            self.tracking.log_parameters(run_id, trial.decisive(), file="trial.json")

        return find_or_create(
            self.tracking,
            SWEEPS,
            identity={"icss.trial": trial.trial_id},
            name=trial.title,
            tags={
                "mlflow.parentRunId": parent,
                "icss.kind": "trial",
                "icss.variant": trial.variant,
                "icss.case": trial.case,
            },
            fill=fill,
        )

    @contextmanager
    def working_on(self, run_id: str, identity: str) -> Iterator[Work | None]:
        """Wait until nobody else owns the trial, then own it; None if the sweep need do nothing for it.

        How the work ended is written here, unless Tune ends the thread: then the sweep writes it.
        """
        lease = acquire(
            self.tracking, run_id, is_done=lambda record: _is_done(record, identity), ttl=self._ttl
        )
        if lease is None:
            yield None
            return
        revisions = dict.fromkeys([*self.revisions(run_id), self._revision])
        tags = {"icss.revision": ", ".join(revisions)[:MAX_TAG]}
        with work_on(self.tracking, lease, tags=tags, interrupted=False) as work:
            yield work

    def status(self, run_id: str) -> str:
        """State of a trial; empty before it has begun."""
        return self._tags(run_id).get(STATUS, "")

    def done(self, run_id: str, identity: str) -> bool:
        """Whether a sweep need do nothing for a trial: it is done, or this very sweep stopped it early."""
        record = self.tracking.get(run_id)
        return record is not None and _is_done(record, identity)

    def write(self, work: Work, results: Sequence[BaseModel], *, done: int | None = None) -> None:
        """Write all results so far.

        Args:
            work: on the trial.
            results: of the kind of the sweep.
            done: number of finished images or tasks; by default the number of results.

        Raises:
            LostOwnershipError: another process has taken the trial over.
        """
        work.check()
        self.tracking.write_json(work.run_id, _RESULTS, [one.model_dump(mode="json") for one in results])
        self.tracking.set_tags(work.run_id, {"icss.done": str(len(results) if done is None else done)})

    def done_of(self, run_id: str) -> int:
        """Number of images or tasks that a trial has finished."""
        return int(self._tags(run_id).get("icss.done", "0"))

    def read(self, run_id: str, kind: type[AnyResult]) -> list[AnyResult]:
        """What a trial has written so far."""
        if not self.done_of(run_id):
            return []
        return [kind.model_validate(one) for one in self.tracking.read_json(run_id, _RESULTS)]

    def revisions(self, run_id: str) -> list[str]:
        """Revisions of the code that worked on a trial."""
        return [one for one in self._tags(run_id).get("icss.revision", "").split(", ") if one]

    def settle(self, run_id: str, identity: str, outcome: str) -> None:
        """Write what a trial's process could not: that the sweep's scheduler stopped it, or that it died.

        Args:
            run_id: of the trial.
            identity: of the sweep.
            outcome: what Tune saw: ended or failed; for anything else nothing is written, as nobody knows.
        """
        if outcome not in {"ended", "failed"}:
            return
        # only as its owner: another sweep may be working on it
        lease = acquire(
            self.tracking,
            run_id,
            is_done=lambda record: record.tags.get(STATUS) in ENDED,
            ttl=self._ttl,
        )
        if lease is None:
            return
        if outcome == "failed":
            with work_on(self.tracking, lease) as work:
                work.fail("its process died, twice")
            return
        with lease:
            lease.check()
            self.tracking.set_tags(run_id, {STATUS: "stopped", _STOPPED_BY: identity})
            self.tracking.finish(run_id, "KILLED")

    def _tags(self, run_id: str) -> dict[str, str]:
        record = self.tracking.get(run_id)
        return {} if record is None else record.tags


def _is_done(record: RunRecord, identity: str) -> bool:
    status = record.tags.get(STATUS, "")
    return status == "successful" or (status == "stopped" and record.tags.get(_STOPPED_BY) == identity)
