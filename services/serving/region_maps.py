"""Mapping jobs over HTTP: requests into jobs, and what a job's MLflow run says into answers."""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from icss_core.errors import ImageNotFoundError
from icss_core.inference import DEFAULT_TILING, Tiling
from icss_core.raster.formats import IMAGE_EXTENSIONS
from services.mapping.map_item import COLLECTION
from services.mapping.map_jobs import MapJobs
from services.mapping.request import MapRequest
from services.ownership import STATUS
from services.s3_address import S3Address
from services.serving.responses import Link, MapsStatus

if TYPE_CHECKING:
    from services.registry import Registry
    from services.serving.requests import MapsRequest
    from services.settings import Settings
    from services.storage import Storage
    from services.tracking import RunRecord, Tracking

FOLDER: Final = "maps"
"""Under the data prefix: maps of requests that name no prefix of their own."""
_FILES: Final = frozenset({*IMAGE_EXTENSIONS, ".yaml", ".yml", ".txt"})
_MESSAGES: Final = {
    "accepted": "waiting for the cluster",
    "interrupted": "was stopped, and goes on in a moment",
    "dismissed": "cancelled on request; the maps that were done stay",
}


class RegionMaps:
    """Starts mapping jobs, says how they are, and cancels them. Blocking."""

    def __init__(self, settings: Settings, registry: Registry, storage: Storage, tracking: Tracking) -> None:
        self._settings, self._registry, self._storage = settings, registry, storage
        self._tracking = tracking
        self._jobs = MapJobs(settings, tracking)

    def start(self, asked: MapsRequest) -> MapsStatus:
        """Check a request, and start its job; the same request again is the same job.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there is no such version.
            UriNotAllowedError: an address is outside of what this service may touch.
            ImageNotFoundError: there is nothing at an address.
            NoJobsError, UnavailableError: no cluster takes it.
        """
        version = self._registry.resolve(asked.model, asked.version).version
        for address in asked.images:
            self._check_there(address)
        out = asked.out or self._own_prefix(asked, version)
        request = MapRequest(
            model=asked.model,
            version=version,
            images=tuple(asked.images),
            pattern=asked.pattern,
            out=self._storage.check_object(out),
            bands=asked.bands,
            confidence=asked.confidence,
            outlines=asked.outlines,
            min_area=asked.min_area,
            tiling=DEFAULT_TILING if asked.tiling is None else Tiling(**asked.tiling.model_dump()),
            workers=self._settings.map_workers,
            cpus_per_worker=self._settings.map_cpus_per_worker,
            gpu=self._settings.map_gpu,
        )
        return self.status(self._jobs.start(request))

    def status(self, run_id: str) -> MapsStatus:
        """How a job is.

        Raises:
            MapsNotFoundError: no job has this id.
        """
        record = self._jobs.get(run_id)
        status = status_of(record)
        if status.status == "successful":
            totals = self._tracking.read_json(run_id, "totals.json")
            return status.model_copy(update={"square_kilometres": totals["square_kilometres"]})
        return status

    def statuses(self, *, model: str | None, limit: int) -> list[MapsStatus]:
        """How all jobs are, newest first, without their totals."""
        return [status_of(record) for record in self._jobs.listed(model=model, limit=limit)]

    def cancel(self, run_id: str) -> MapsStatus:
        """Stop a job; stopping one twice is no error.

        Raises:
            MapsNotFoundError: no job has this id.
            ConflictError: it has ended already.
        """
        self._jobs.cancel(run_id)
        return self.status(run_id)

    def _check_there(self, address: str) -> None:
        """Refuse what the job would only find out later; a prefix must have something under it."""
        checked = self._storage.check_allowed(address)
        suffix = f".{checked.rpartition('/')[2].rpartition('.')[2].lower()}"
        if suffix in _FILES and not address.endswith("/"):
            there = self._storage.exists(self._storage.check_object(address))
        else:
            there = bool(list(islice(self._storage.list(checked), 1)))
        if not there:
            raise ImageNotFoundError(f"there is nothing at {address}")

    def _own_prefix(self, asked: MapsRequest, version: int) -> str:
        """The same for the same request, so that it goes on where it was."""
        content = asked.model_copy(update={"version": version}).model_dump_json()
        name = hashlib.sha256(content.encode()).hexdigest()[:16]
        return str(S3Address.parse(self._settings.data_prefix).child(FOLDER, name))


def status_of(record: RunRecord) -> MapsStatus:
    """The state of a job as its run's tags and metrics say it, without its totals."""
    tags, metrics = record.tags, record.metrics
    state = tags[STATUS]
    scenes = int(metrics["scenes"]) if "scenes" in metrics else None
    done, failed = int(metrics.get("done", 0)), int(metrics.get("failed", 0))
    known: dict[str, Any] = {}
    if state == "running":
        message = "listing the scenes" if scenes is None else f"{done} of {scenes} scenes are mapped"
        known = {key: metrics.get(key) for key in ("km2", "km2_per_second", "seconds_left")}
    elif state == "failed":
        message = tags.get("icss.error") or "failed"
    elif state == "successful":
        message = f"{done} maps; {failed} images have none" if failed else f"{done} maps"
    else:
        message = _MESSAGES[state]
    shown = "accepted" if state == "interrupted" else state
    links = [Link(href=f"/v1/maps/{record.run_id}", rel="self")]
    if state == "successful":
        links.append(Link(href=f"{tags['icss.out']}/{COLLECTION}", rel="collection"))
    return MapsStatus(
        id=record.run_id,
        status=shown,
        message=message,
        created=record.started,
        model=tags["icss.model"],
        version=int(tags["icss.version"]),
        out=tags["icss.out"],
        scenes=scenes,
        done=done,
        failed=failed,
        progress=100 if state == "successful" else int(100 * (done + failed) / scenes) if scenes else 0,
        links=links,
        **known,
    )
