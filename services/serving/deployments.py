"""The three Serve deployments: thin shells around plain classes.

| deployment | replicas | does |
|---|---|---|
| api | any number | HTTP, checks, records; light |
| updater | exactly one | updates, one at a time, in a warm process |
| predictor | any number | predictions, in each a small and a large one at a time |

A replica reads its settings from its own environment, so no secret passes through Ray. None queues without
bound: what is over a limit gets an answer at once that says when to come again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError
from ray import serve
from ray.serve.config import BackpressureConfig

from icss_core.errors import faults_of
from icss_core.raster.block_cache import set_block_cache
from services.errors import ConfigurationError
from services.mapping.map_jobs import KEEP_SECONDS, MapJobs
from services.mlflow_calls import limit_waiting
from services.registry import Registry
from services.repeating_thread import RepeatingThread
from services.retention import Retention, RetentionThread
from services.serving.app import create_api
from services.serving.backend import Backend
from services.serving.dependencies import Dependencies
from services.serving.handles import PredictorHandle, UpdaterHandle, refusals_returned
from services.serving.images import Images
from services.serving.lanes import Lanes
from services.serving.meters import (
    DEPENDENCY_SECONDS,
    QUEUE_SECONDS,
    DependencyMeter,
    PredictionMeter,
    UpdateMeter,
)
from services.serving.prediction_pool import PredictionPool
from services.serving.predictor import PredictionService
from services.serving.readiness import PATIENCE
from services.serving.update_queue import UpdateQueue
from services.serving.update_records import UpdateRecords
from services.serving.update_run import UpdateRun
from services.settings import load_settings
from services.storage import Storage
from services.tracking import Tracking

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application
    from ray.serve.handle import DeploymentHandle

    from services.serving.orders import UpdateOrder
    from services.serving.predictor import PredictionJob, PredictionOutcome
    from services.serving.update_control import LiveProgress

_log = logging.getLogger("ray.serve")

BLOCK_CACHE: Final = 200 * 2**20
"""Bytes of decoded image blocks that a replica keeps while no prediction asks for more or less."""
CALLS: Final = 100
"""Calls that may be inside a replica at once, and as many that may wait for it: each is short, or waits for
another part that has a lower limit of its own."""


@serve.ingress()
class Api:
    """The HTTP side."""

    def __init__(self, updater: DeploymentHandle[Any], predictor: DeploymentHandle[Any]) -> None:
        set_block_cache(BLOCK_CACHE)
        self._settings = load_settings()
        limit_waiting(self._settings)
        self._backend = Backend(
            self._settings, updater=UpdaterHandle(updater), predictor=PredictorHandle(predictor)
        )
        probe = Storage(self._settings, timeout=PATIENCE, attempts=1)
        dependencies = Dependencies(
            {"mlflow": Tracking(self._settings).answers, "object_store": probe.answers},
            DependencyMeter().answers,
        )
        self._watching = RepeatingThread(
            dependencies.ask,
            name="dependencies",
            seconds=DEPENDENCY_SECONDS,
            on_failure="MLflow and the object store were not asked this time",
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application, made in the replica and never pickled."""
        return create_api(
            self._backend,
            token=self._settings.require_api_token(),
            max_body_bytes=self._settings.limits.max_body_bytes,
            max_bodies_bytes=self._settings.limits.max_bodies_bytes,
        )

    def __del__(self) -> None:
        """Serve's way to say that the replica ends."""
        if hasattr(self, "_watching"):  # not where the constructor failed
            self._watching.close()


class Updater:
    """The one process that carries out updates."""

    def __init__(self) -> None:
        set_block_cache(BLOCK_CACHE)
        settings = load_settings()
        torch.set_num_threads(settings.threads)  # Ray's OMP_NUM_THREADS follows num_cpus, which is a fraction
        registry, storage, tracking = Registry(settings), Storage(settings), Tracking(settings)
        records = UpdateRecords(tracking, lease_seconds=settings.lease_seconds)
        work = UpdateRun(registry, Images(settings, storage), records, tracking)
        self._meter = UpdateMeter(max_waiting=settings.limits.max_queued_updates)
        self._queue = UpdateQueue(
            records, work, max_waiting=settings.limits.max_queued_updates, on_end=self._meter.ended
        )
        work.models.warm_up()
        resumed = self._queue.start()
        queue, meter = self._queue, self._meter
        self._watching = RepeatingThread(
            lambda: meter.load(queue.load()),
            name="queue load",
            seconds=QUEUE_SECONDS,
            on_failure="the length of the queue is not shown this time",
        )
        self._retention = RetentionThread(Retention(settings, storage, tracking))
        if settings.jobs_address is not None:
            self._map_keeper = RepeatingThread(
                MapJobs(settings, tracking).keep,
                name="mapping jobs",
                seconds=KEEP_SECONDS,
                on_failure="mapping jobs are looked after later",
            )
        if resumed:
            _log.info("took up %d unfinished updates: %s", len(resumed), ", ".join(resumed))

    @refusals_returned
    async def submit(self, order: UpdateOrder, key: str | None) -> str:
        """See `UpdateQueue.submit`."""
        return await asyncio.to_thread(self._queue.submit, order, key)

    @refusals_returned
    async def cancel(self, update_id: str) -> None:
        """See `UpdateQueue.cancel`."""
        await asyncio.to_thread(self._queue.cancel, update_id)

    @refusals_returned
    async def progress(self, update_id: str) -> LiveProgress | None:
        """See `UpdateQueue.progress`."""
        return self._queue.progress(update_id)

    async def ready(self) -> bool:
        """Whether the worker thread runs."""
        return self._queue.is_alive

    def check_health(self) -> None:
        """Serve replaces the replica when this raises."""
        if not self._queue.is_alive:
            raise RuntimeError("the update thread has died")

    def __del__(self) -> None:
        """Serve's way to say that the replica ends."""
        if hasattr(self, "_queue"):  # not where the constructor failed
            self._queue.close()
        for thread in ("_watching", "_retention", "_map_keeper"):
            if hasattr(self, thread):
                getattr(self, thread).close()


class Predictor:
    """Predicts images: one small and one large at a time, while others wait for their turn."""

    def __init__(self) -> None:
        set_block_cache(BLOCK_CACHE)
        settings = load_settings()
        torch.set_num_threads(settings.threads)
        storage = Storage(settings, timeout=settings.s3_timeout)
        lanes = Lanes(max_waiting=settings.limits.max_queued_predictions)
        service = PredictionService(settings, Registry(settings), storage, Images(settings, storage), lanes)
        service.models.warm_up()
        self._pool = PredictionPool(service, places=lanes.places, on_end=PredictionMeter().ended)

    @refusals_returned
    async def predict(self, job: PredictionJob) -> PredictionOutcome:
        """See `PredictionPool.predict`."""
        return await self._pool.predict(job)

    @refusals_returned
    async def verify(self, name: str, version: int) -> None:
        """See `PredictionPool.verify`."""
        await self._pool.verify(name, version)

    async def ready(self) -> bool:
        """Whether the replica is up; that it answers says so."""
        return await self._pool.ready()


def application(*, predictor_replicas: int = 1) -> Application:
    """The three deployments, bound together.

    Fractions of a CPU let all of them share a machine of two with a training job; they are Ray's bookkeeping,
    not a limit: the threads of torch are set from the settings.

    Args:
        predictor_replicas: processes that predict.
    """
    updater = serve.deployment(
        name="updater",
        num_replicas=1,
        max_ongoing_requests=CALLS,
        max_queued_requests=CALLS,
        ray_actor_options={"num_cpus": 0.2},
        health_check_period_s=2,  # a dead updater keeps everybody waiting: notice it soon
        graceful_shutdown_timeout_s=10,
    )(Updater)
    predictor = serve.deployment(
        name="predictor",
        num_replicas=predictor_replicas,
        max_ongoing_requests=CALLS,
        max_queued_requests=CALLS,
        ray_actor_options={"num_cpus": 0.2},
        graceful_shutdown_timeout_s=10,
    )(Predictor)
    api = serve.deployment(
        name="api",
        num_replicas=1,
        max_ongoing_requests=CALLS,
        max_queued_requests=CALLS,
        # the one refusal that is not ours: the proxy's, in front of the API
        backpressure_config=BackpressureConfig(status_code=503, retry_after_s=5),
        ray_actor_options={"num_cpus": 0.1},
    )(Api)
    bound: Application = api.bind(updater.bind(), predictor.bind())
    return bound


class BuildArguments(BaseModel):
    """What the `args` of a Serve config may say; everything else of a deployment is in its `deployments`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    predictor_replicas: PositiveInt = 1
    """Processes that predict, where the config has no number of its own."""


def build(arguments: dict[str, str] | None = None) -> Application:
    """The Serve application: what a Serve config names as `import_path: services.serving.deployments:build`.

    Args:
        arguments: the `args` of the Serve config, see `BuildArguments`.

    Raises:
        ConfigurationError: an argument is not known, or has a wrong value.
    """
    try:
        checked = BuildArguments.model_validate(arguments or {})
    except ValidationError as error:
        raise ConfigurationError(f"args of the Serve config: {faults_of(error)}") from error
    return application(predictor_replicas=checked.predictor_replicas)
