"""The job around many maps: which scenes, who maps them, what came of it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import ray

from services.errors import ConflictError, LostOwnershipError
from services.mapping.collection import (
    as_bytes,
    collection_of,
    failures_table,
    maps_table,
    totals_of,
)
from services.mapping.map_item import COLLECTION
from services.mapping.meter import MapMeter
from services.mapping.planning import plan_scenes
from services.mapping.run import MapRun
from services.mapping.scenes import find_scenes
from services.mapping.workers import MapWorkers
from services.ownership import STATUS, LeaseWatch, acquire, find_or_create, work_on
from services.registry import Registry
from services.revision import code_revision
from services.storage import Storage
from services.tracking import MAPS, Tracking

if TYPE_CHECKING:
    from services.mapping.request import MapRequest
    from services.mapping.workers import Failure
    from services.ownership import Work
    from services.settings import Settings

_log = logging.getLogger(__name__)

OUT: Final = "icss.out"
"""Tag: prefix of the maps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapsResult:
    """What came of a mapping job."""

    run_id: str
    """Of MLflow."""
    maps: int
    """All that there are now, those from before included."""
    failures: dict[str, Failure]
    """By address of the image."""
    seconds: float
    """That workers were at it; their start, and looking at the scenes, is not in it."""


def maps_run(request: MapRequest, tracking: Tracking) -> str:
    """The MLflow run of a request: the one it has, or a new one."""

    def fill(run_id: str) -> None:
        tracking.log_parameters(run_id, request.decisive())
        tracking.write_text(run_id, "request.json", request.model_dump_json(indent=2))

    return find_or_create(
        tracking,
        MAPS,
        identity={"icss.maps": request.identity},
        name=f"{request.model} {request.version}: {request.out}",
        tags={"icss.model": request.model, "icss.version": str(request.version), OUT: request.out},
        fill=fill,
    )


def run_maps(request: MapRequest, settings: Settings) -> MapsResult:
    """Map all scenes of a request that have no such map yet; Ray must be initialised.

    Submitted again, or after a crash, the job goes on with the scenes that are left; images that were
    overwritten since are mapped anew. A scene that cannot be read, or fails several times, is written down
    and does not stop the others. A job that another process works on is waited for, and taken over if that
    process dies.

    Args:
        request: what to map.
        settings: of the services.

    Raises:
        InvalidParameterError: there are no images, or two would have the same map.
        ConflictError: another request's job is writing maps under this prefix.
        CancelledError: somebody asked it to stop; maps that are done stay.
        MappingError: the workers do not start.
        IcssError: the version, MLflow or the store cannot be had.
        LostOwnershipError: another process has taken the job over, because this one stood still.
    """
    tracking, registry = Tracking(settings), Registry(settings)
    registry.fetch(request.model, request.version)  # what is wrong with it is said before anything is begun
    run_id = maps_run(request, tracking)
    lease = acquire(tracking, run_id, ttl=settings.lease_seconds)
    tags = {"icss.revision": code_revision(settings), "icss.spread": request.spread()}
    with work_on(tracking, lease, tags=tags) as work:
        _check_alone(tracking, request, run_id, settings)
        return _map(request, work, tracking, registry, settings)


def _map(
    request: MapRequest, work: Work, tracking: Tracking, registry: Registry, settings: Settings
) -> MapsResult:
    storage = Storage(settings)
    scenes = find_scenes(request, storage)
    _log.info("%d scenes", len(scenes))
    planned = plan_scenes(scenes, request, registry, storage)
    run = MapRun(planned, work, tracking, MapMeter(request.model))
    try:
        if run.left:
            with MapWorkers(request, tasks=run.left, gpus=_gpus(request)) as workers:
                run.map(workers)
    except LostOwnershipError:
        raise  # its new owner writes
    except BaseException:
        _write_down(request, run, work, tracking)
        raise
    work.check()
    _write_down(request, run, work, tracking)
    storage.write_bytes(
        f"{request.out.rstrip('/')}/{COLLECTION}",
        as_bytes(collection_of(request, run.records)),
        content_type="application/json",
    )
    work.succeed({"icss.scenes_failed": str(len(run.failures))})
    return MapsResult(run_id=work.run_id, maps=len(run.records), failures=run.failures, seconds=run.seconds)


def _write_down(request: MapRequest, run: MapRun, work: Work, tracking: Tracking) -> None:
    """What there is by now, as tables of the job's run."""
    records = sorted(run.records, key=lambda record: record.name)
    tracking.write_text(work.run_id, "maps.csv", maps_table(request, records))
    tracking.write_text(work.run_id, "failures.csv", failures_table(run.failures))
    totals = totals_of(records)
    tracking.write_json(work.run_id, "totals.json", totals)
    areas = {f"area_km2/{number}": area for number, area in enumerate(totals["square_kilometres"].values())}
    tracking.log_metrics(work.run_id, [(0, time.time(), areas)])


def _gpus(request: MapRequest) -> int:
    """GPUs of each worker."""
    if request.gpu is not None:
        return int(request.gpu)
    found = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]  # Ray's own gap
    return int(found >= request.workers)


def _check_alone(tracking: Tracking, request: MapRequest, run_id: str, settings: Settings) -> None:
    """Make sure that no other job writes maps under the same prefix.

    Raises:
        ConflictError: one does.
    """
    watch = LeaseWatch(settings.lease_seconds)
    deadline = time.monotonic() + 1.5 * settings.lease_seconds
    while True:
        others = [
            one
            for one in tracking.find(MAPS, tags={OUT: request.out, STATUS: "running"})
            if one.run_id != run_id and not watch.may_take(one)
        ]
        if not others:
            return
        if time.monotonic() > deadline:
            raise ConflictError(
                f"another job writes maps under {request.out}: run {others[0].run_id}, {others[0].name}; "
                "map into another prefix, or wait until it has ended"
            )
        time.sleep(min(1.0, settings.lease_seconds / 5))
