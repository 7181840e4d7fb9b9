"""Mapping jobs as a service sees them: started on a cluster for jobs, watched, cancelled, never lost.

What is asked for is written down as an MLflow run before a job is submitted, and the job is `python -m
services.mapping` like any other. A job whose process is gone before it has ended is submitted again by
`keep`, which the service calls now and then.
"""

from __future__ import annotations

import logging
import shlex
from typing import TYPE_CHECKING, Final

from services.errors import (
    ConflictError,
    MapsNotFoundError,
    NoJobsError,
    TrackingError,
    UnavailableError,
)
from services.mapping.job import maps_run
from services.mapping.request import MapRequest
from services.mapping.run import CANCEL
from services.ownership import STATUS, LeaseWatch, take
from services.ray_jobs import NO_ANSWER, job_client
from services.tracking import MAPS

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

    from services.settings import Settings
    from services.tracking import RunRecord, Tracking

_log = logging.getLogger(__name__)

_ENDED: Final = ("successful", "failed", "dismissed")
"""States of a job that is over; one in any other is to go on."""
KEEP_SECONDS: Final = 15.0
"""From one look after the jobs to the next."""
_SUBMISSION: Final = "icss.submission"
"""Tag: the last submission of a run to the cluster, as NUMBER ID."""
_SUBMISSIONS: Final = 10
"""How often a job is submitted without having ended."""
_LIVING: Final = frozenset({"PENDING", "RUNNING"})


class MapJobs:
    """Starts, finds, cancels and keeps mapping jobs. Safe to share between threads.

    Args:
        settings: of the service; they name the cluster.
        tracking: where jobs are written down.
    """

    def __init__(self, settings: Settings, tracking: Tracking) -> None:
        self._settings, self._tracking = settings, tracking
        self._watch = LeaseWatch(settings.lease_seconds)

    def start(self, request: MapRequest) -> str:
        """Write a job down and submit it.

        When this returns, the job survives the end of any process. The same request again gives the same id;
        it starts nothing while the first is at it, and afterwards maps what has come since.

        Raises:
            NoJobsError: no cluster is named.
            UnavailableError: the cluster does not answer; nothing was started.
            TrackingError: MLflow did not take it.
        """
        client = self._client()
        run_id = maps_run(request, self._tracking)
        record = self._record(run_id)
        if record.tags.get(STATUS) not in _ENDED and self._lives(client, record):
            return run_id
        self._tracking.set_tags(run_id, {STATUS: "accepted", CANCEL: ""})
        self._submit(client, record, request, number=1)
        return run_id

    def get(self, run_id: str) -> RunRecord:
        """The run of a job.

        Raises:
            MapsNotFoundError: no job has this id.
        """
        record = self._tracking.get(run_id)
        if record is None or "icss.maps" not in record.tags or STATUS not in record.tags:
            raise MapsNotFoundError(f"no mapping job has the id {run_id!r}; GET /v1/maps lists them")
        return record

    def listed(self, *, model: str | None, limit: int) -> list[RunRecord]:
        """Runs of jobs, newest first."""
        tags = {} if model is None else {"icss.model": model}
        found = self._tracking.find(MAPS, tags=tags)
        return [one for one in reversed(found) if STATUS in one.tags][:limit]

    def cancel(self, run_id: str) -> None:
        """Stop a job: at once where nobody works on it, else within seconds. Maps that are done stay.

        Raises:
            MapsNotFoundError: no job has this id.
            ConflictError: it has ended already.
        """
        record = self.get(run_id)
        state = record.tags[STATUS]
        if state == "dismissed":
            return
        if state in _ENDED:
            raise ConflictError(f"mapping job {run_id} has ended: {state}; nothing is left to cancel")
        self._tracking.set_tags(run_id, {CANCEL: "requested"})
        self._end_if_asked(self.get(run_id))

    def keep(self) -> list[str]:
        """Submit jobs again whose process is gone; returns their ids.

        Whether it is gone shows only when looking repeatedly, over `lease_seconds`.

        Raises:
            TrackingError: MLflow did not answer.
        """
        pending = [
            one
            for one in self._tracking.find(MAPS, tags={}, without={STATUS: _ENDED})
            if _SUBMISSION in one.tags and self._watch.may_take(one)
        ]
        if not pending:
            return []
        try:
            client = self._client()
            return [one.run_id for one in pending if self._keep(client, one)]
        except (UnavailableError, NoJobsError) as error:
            _log.warning("mapping jobs are looked after later: %s", error)
            return []

    def _keep(self, client: JobSubmissionClient, record: RunRecord) -> bool:
        """Whether a job was submitted again."""
        if self._end_if_asked(record) or self._lives(client, record):
            return False
        number = int(record.tags[_SUBMISSION].partition(" ")[0]) + 1
        if number > _SUBMISSIONS:
            message = f"the process of this job died {_SUBMISSIONS} times; its maps so far are there"
            self._tracking.set_tags(record.run_id, {STATUS: "failed", "icss.error": message})
            self._tracking.finish(record.run_id, "FAILED")
            return False
        request = MapRequest.model_validate_json(self._tracking.read_bytes(record.run_id, "request.json"))
        _log.warning("mapping job %s has lost its process, and is submitted again", record.run_id)
        self._submit(client, record, request, number=number)
        return True

    def _end_if_asked(self, record: RunRecord) -> bool:
        """End a job that is to stop and that nobody works on; whether that is so."""
        if not record.tags.get(CANCEL) or not self._watch.may_take(record):
            return False
        lease = take(self._tracking, record, ttl=self._settings.lease_seconds)
        if lease is None:
            return False
        try:
            self._tracking.set_tags(record.run_id, {STATUS: "dismissed"})
            self._tracking.finish(record.run_id, "KILLED")
        finally:
            lease.release()
        return True

    def _submit(
        self, client: JobSubmissionClient, record: RunRecord, request: MapRequest, *, number: int
    ) -> None:
        earlier = record.tags.get(_SUBMISSION, "0 -").partition(" ")[2]
        entrypoint = shlex.join(["python", "-m", "services.mapping", *request.options()])
        try:
            submission = client.submit_job(entrypoint=entrypoint, metadata={"icss.run": record.run_id})
        except NO_ANSWER as error:
            raise UnavailableError(f"the cluster for jobs takes none at the moment: {error}") from error
        _log.info("mapping job %s is submission %s (before: %s)", record.run_id, submission, earlier)
        self._tracking.set_tags(record.run_id, {_SUBMISSION: f"{number} {submission}"})

    def _lives(self, client: JobSubmissionClient, record: RunRecord) -> bool:
        """Whether the last submission of a job is at it, or waits for the cluster.

        Raises:
            UnavailableError: the cluster does not answer.
        """
        submission = record.tags.get(_SUBMISSION, "").partition(" ")[2]
        if not submission:
            return False
        try:
            return str(client.get_job_status(submission)) in _LIVING
        except RuntimeError as error:
            if "does not exist" in str(error) or "404" in str(error):
                return False  # a cluster that was started anew knows nothing of before
            raise UnavailableError(f"the cluster for jobs does not answer: {error}") from error
        except NO_ANSWER as error:
            raise UnavailableError(f"the cluster for jobs does not answer: {error}") from error

    def _client(self) -> JobSubmissionClient:
        settings = self._settings
        if settings.jobs_address is None:
            raise NoJobsError(
                "this service has no cluster for jobs; its operator names one (ICSS_JOBS_ADDRESS)"
            )
        token = settings.jobs_token
        try:
            return job_client(settings.jobs_address, None if token is None else token.get_secret_value())
        except NO_ANSWER as error:
            raise UnavailableError(f"the cluster for jobs does not answer: {error}") from error

    def _record(self, run_id: str) -> RunRecord:
        record = self._tracking.get(run_id)
        if record is None:
            raise TrackingError(f"MLflow has no run {run_id}")
        return record
