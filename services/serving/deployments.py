"""The three Serve deployments: thin shells around plain classes.

| deployment | replicas | does |
|---|---|---|
| api | any number | HTTP, checks, records; light |
| updater | exactly one | updates, one at a time, in a warm process |
| predictor | any number | predictions, one at a time in each |

A replica reads its settings from its own environment, so no secret passes through Ray.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch
from ray import serve

from services.mlflow_calls import limit_waiting
from services.registry import Registry
from services.serving.app import create_api
from services.serving.backend import Backend
from services.serving.handles import PredictorHandle, UpdaterHandle
from services.serving.images import Images
from services.serving.meters import PredictionMeter, UpdateMeter
from services.serving.predictor import PredictionService
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


@serve.ingress()
class Api:
    """The HTTP side."""

    def __init__(self, updater: DeploymentHandle[Any], predictor: DeploymentHandle[Any]) -> None:
        self._settings = load_settings()
        limit_waiting(self._settings)
        self._backend = Backend(
            self._settings, updater=UpdaterHandle(updater), predictor=PredictorHandle(predictor)
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application, made in the replica and never pickled."""
        return create_api(
            self._backend,
            token=self._settings.require_api_token(),
            max_body_bytes=self._settings.limits.max_body_bytes,
        )


class Updater:
    """The one process that carries out updates."""

    def __init__(self) -> None:
        settings = load_settings()
        torch.set_num_threads(settings.threads)  # Ray's OMP_NUM_THREADS follows num_cpus, which is a fraction
        registry, storage, tracking = Registry(settings), Storage(settings), Tracking(settings)
        records = UpdateRecords(tracking)
        work = UpdateRun(registry, Images(settings, storage), records, tracking)
        self._meter = UpdateMeter()
        self._queue = UpdateQueue(
            records, work, max_waiting=settings.limits.max_queued_updates, on_end=self._meter.ended
        )
        work.models.warm_up()
        resumed = self._queue.start()
        if resumed:
            _log.info("took up %d unfinished updates: %s", len(resumed), ", ".join(resumed))

    async def submit(self, order: UpdateOrder, key: str | None) -> str:
        """See `UpdateQueue.submit`."""
        return await asyncio.to_thread(self._queue.submit, order, key)

    async def cancel(self, update_id: str) -> None:
        """See `UpdateQueue.cancel`."""
        await asyncio.to_thread(self._queue.cancel, update_id)

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


class Predictor:
    """Predicts images, one at a time."""

    def __init__(self) -> None:
        settings = load_settings()
        torch.set_num_threads(settings.threads)
        storage = Storage(settings)
        self._service = PredictionService(settings, Registry(settings), storage, Images(settings, storage))
        self._service.models.warm_up()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prediction")
        self._meter = PredictionMeter()

    async def predict(self, job: PredictionJob) -> PredictionOutcome:
        """See `PredictionService.predict`. A caller who goes away stops the work."""
        abandoned = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            outcome = await loop.run_in_executor(self._pool, self._service.predict, job, abandoned.is_set)
        except asyncio.CancelledError:
            abandoned.set()
            raise
        self._meter.ended(outcome)
        return outcome

    async def verify(self, name: str, version: int) -> None:
        """Load a version, or raise what is wrong with it."""
        await asyncio.to_thread(self._service.models.get, name, version)

    async def ready(self) -> bool:
        """Whether the replica is up; that it answers says so."""
        return True


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
        max_ongoing_requests=100,
        ray_actor_options={"num_cpus": 0.2},
        health_check_period_s=2,  # a dead updater keeps everybody waiting: notice it soon
        graceful_shutdown_timeout_s=10,
    )(Updater)
    predictor = serve.deployment(
        name="predictor",
        num_replicas=predictor_replicas,
        max_ongoing_requests=8,
        ray_actor_options={"num_cpus": 0.2},
        graceful_shutdown_timeout_s=10,
    )(Predictor)
    api = serve.deployment(
        name="api", num_replicas=1, max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.1}
    )(Api)
    bound: Application = api.bind(updater.bind(), predictor.bind())
    return bound
