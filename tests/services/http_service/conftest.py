"""The service in one process: real object store, real MLflow, real HTTP, real updates; no Ray."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
import torch
import uvicorn
from pydantic import SecretStr

from services.client import IcssClient
from services.local.mlflow_server import start_mlflow, wait_for_mlflow
from services.local.object_store import start_object_store, wait_for_object_store
from services.local.ports import free_ports
from services.registry import Registry
from services.serving.app import create_api
from services.serving.backend import Backend
from services.serving.images import Images
from services.serving.predictor import PredictionService
from services.serving.update_queue import UpdateQueue
from services.serving.update_records import UpdateRecords
from services.serving.update_run import UpdateRun
from services.settings import Limits, Settings
from services.storage import Storage
from services.tracking import Tracking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.serving.orders import UpdateOrder
    from services.serving.predictor import PredictionJob, PredictionOutcome
    from services.serving.update_control import LiveProgress

TOKEN = "a token of the tests"


@pytest.fixture(scope="session")
def serving_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serving")


@pytest.fixture(scope="session")
def serving_settings(serving_folder: Path) -> Iterator[Settings]:
    """Settings over a real S3 server and a real MLflow server of this test session."""
    store_port, mlflow_port, api_port = free_ports(3)
    keys = {"access_key": "test-access-key", "secret_key": "test-secret-key"}
    with ExitStack() as running:
        store = start_object_store(
            serving_folder / "s3",
            port=store_port,
            buckets=("icss",),
            environment=os.environ,
            log=serving_folder / "s3.log",
            **keys,
        )
        running.callback(store.stop)
        mlflow = start_mlflow(
            serving_folder / "mlflow" / "mlflow.db",
            port=mlflow_port,
            artefacts="s3://icss/mlflow",
            s3_endpoint=f"http://127.0.0.1:{store_port}",
            environment=os.environ,
            log=serving_folder / "mlflow.log",
            **keys,
        )
        running.callback(mlflow.stop)
        wait_for_object_store(store, port=store_port, seconds=30)
        wait_for_mlflow(mlflow, port=mlflow_port, seconds=90)
        yield Settings(
            s3_endpoint=f"http://127.0.0.1:{store_port}",
            s3_access_key=keys["access_key"],
            s3_secret_key=SecretStr(keys["secret_key"]),
            s3_ranges_with_200=True,
            data_prefix="s3://icss/data",
            mlflow_uri=f"http://127.0.0.1:{mlflow_port}",
            api_token=SecretStr(TOKEN),
            api_port=api_port,
            threads=1,
            cache_dir=serving_folder / "cache",
            limits=Limits(max_body_bytes=300_000, max_clicks=50, max_pixels=250_000, max_queued_updates=3),
        )


@pytest.fixture(scope="session")
def tracking(serving_settings: Settings) -> Tracking:
    return Tracking(serving_settings)


class InProcessUpdater:
    """`ports.Updater` over a queue in this process."""

    def __init__(self, queue: UpdateQueue) -> None:
        self.queue = queue
        self.is_ready = True

    async def submit(self, order: UpdateOrder, key: str | None) -> str:
        return await asyncio.to_thread(self.queue.submit, order, key)

    async def cancel(self, update_id: str) -> None:
        await asyncio.to_thread(self.queue.cancel, update_id)

    async def progress(self, update_id: str) -> LiveProgress | None:
        return self.queue.progress(update_id)

    async def ready(self) -> bool:
        if not self.is_ready:
            await asyncio.sleep(3600)
        return self.queue.is_alive


class InProcessPredictor:
    """`ports.Predictor` over a service in this process."""

    def __init__(self, service: PredictionService) -> None:
        self._service = service

    async def predict(self, job: PredictionJob) -> PredictionOutcome:
        return await asyncio.to_thread(self._service.predict, job)

    async def verify(self, name: str, version: int) -> None:
        await asyncio.to_thread(self._service.models.get, name, version)

    async def ready(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running service and ways to look behind it."""

    url: str
    settings: Settings
    storage: Storage
    registry: Registry
    tracking: Tracking
    updater: InProcessUpdater

    def client(self, token: str = TOKEN) -> IcssClient:
        return IcssClient(self.url, token)

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)


@pytest.fixture(scope="session")
def service(serving_settings: Settings, tracking: Tracking) -> Iterator[Service]:
    """The API under uvicorn on a real port, with one tiny model `town` (background, road)."""
    settings = serving_settings
    torch.set_num_threads(settings.threads)
    storage, registry = Storage(settings), Registry(settings)
    images, records = Images(settings, storage), UpdateRecords(tracking)
    queue = UpdateQueue(
        records,
        UpdateRun(registry, images, records, tracking),
        max_waiting=settings.limits.max_queued_updates,
    )
    queue.start()
    updater = InProcessUpdater(queue)
    predictor = InProcessPredictor(PredictionService(settings, registry, storage, images))
    api = create_api(
        Backend(settings, updater=updater, predictor=predictor),
        token=settings.require_api_token(),
        max_body_bytes=settings.limits.max_body_bytes,
    )
    server = uvicorn.Server(
        uvicorn.Config(api, host=settings.api_host, port=settings.api_port, log_level="warning", ws="none")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield Service(
        url=f"http://{settings.api_host}:{settings.api_port}",
        settings=settings,
        storage=storage,
        registry=registry,
        tracking=tracking,
        updater=updater,
    )
    server.should_exit = True
    thread.join(10)
    queue.close()
