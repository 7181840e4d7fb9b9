"""The service in one process: real object store, real MLflow, real HTTP, real updates; no Ray."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
import torch
import uvicorn
from pydantic import SecretStr
from queue_bench import LEASE_SECONDS, QueueMaker
from tiny_model import SHORT, at, building_clicks, write_scene, write_tiny_model

from services.client import IcssClient
from services.local.ports import free_ports
from services.registry import Registry
from services.serving.app import create_api
from services.serving.backend import Backend
from services.serving.images import Images
from services.serving.lanes import Lanes
from services.serving.prediction_pool import PredictionPool
from services.serving.predictor import PredictionService
from services.serving.update_queue import UpdateQueue
from services.serving.update_records import UpdateRecords
from services.serving.update_run import UpdateRun
from services.settings import Limits, Settings
from services.storage import Storage
from services.tracking import Tracking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.serving.orders import UpdateOrder
    from services.serving.responses import UpdateStatus
    from services.serving.update_control import LiveProgress

TOKEN = "a token of the tests"


@pytest.fixture(scope="session")
def serving_settings(mlflow_settings: Settings) -> Settings:
    """Settings of a service over the S3 and MLflow servers of this session, with small limits."""
    (port,) = free_ports(1)
    limits = Limits(
        max_body_bytes=300_000,
        max_bodies_bytes=500_000,
        max_clicks=50,
        max_pixels=250_000,
        max_network_pixels=1_000_000,
        max_decoded_bytes=100_000,
        max_inline_bytes=600_000,
        max_polygon_bytes=600_000,
        max_queued_updates=3,
        max_queued_predictions=2,
    )
    changes = {
        "api_token": SecretStr(TOKEN),
        "api_port": port,
        "threads": 1,
        "limits": limits,
        "lease_seconds": 2,
    }
    return mlflow_settings.model_copy(update=changes)


@pytest.fixture(scope="session")
def tracking(serving_settings: Settings) -> Tracking:
    return Tracking(serving_settings)


@pytest.fixture(scope="session")
def queue_settings(serving_settings: Settings) -> Settings:
    """Settings of queues whose updates the running service must not take up."""
    return serving_settings.model_copy(update={"experiment_prefix": "queues-of-tests"})


@pytest.fixture
def make(queue_settings: Settings) -> Iterator[QueueMaker]:
    """Makes queues over the same records; the updates that are left are ended after the test."""
    maker = QueueMaker(UpdateRecords(Tracking(queue_settings), lease_seconds=LEASE_SECONDS))
    yield maker
    maker.clear()


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


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running service and ways to look behind it."""

    url: str
    settings: Settings
    storage: Storage
    registry: Registry
    tracking: Tracking
    updater: InProcessUpdater
    predictions: PredictionService
    lanes: Lanes

    def client(self, token: str = TOKEN) -> IcssClient:
        return IcssClient(self.url, token)

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)


@pytest.fixture(scope="package")  # its queue asks MLflow all the time
def service(serving_settings: Settings, tracking: Tracking) -> Iterator[Service]:
    """The API under uvicorn on a real port, without any model."""
    settings = serving_settings
    torch.set_num_threads(settings.threads)
    storage, registry = Storage(settings), Registry(settings)
    images = Images(settings, storage)
    records = UpdateRecords(tracking, lease_seconds=settings.lease_seconds)
    queue = UpdateQueue(
        records,
        UpdateRun(registry, images, records, tracking),
        max_waiting=settings.limits.max_queued_updates,
        reconcile_seconds=0.5,
    )
    queue.start()
    updater = InProcessUpdater(queue)
    lanes = Lanes(max_waiting=settings.limits.max_queued_predictions, small=50_000)
    predictions = PredictionService(settings, registry, storage, images, lanes)
    predictor = PredictionPool(predictions, places=lanes.places)
    api = create_api(
        Backend(settings, updater=updater, predictor=predictor),
        token=settings.require_api_token(),
        max_body_bytes=settings.limits.max_body_bytes,
        max_bodies_bytes=settings.limits.max_bodies_bytes,
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
        predictions=predictions,
        lanes=lanes,
    )
    server.should_exit = True
    thread.join(10)
    queue.close()


@pytest.fixture(scope="package")
def town(service: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The model `hamlet`, version 1 as memory; its scene `town`, and scenes that it cannot use."""
    folder = tmp_path_factory.mktemp("town")
    run = service.tracking.create_run("icss-pretraining", name="tiny", tags={})
    version = service.registry.register("hamlet", write_tiny_model(folder / "model"), run_id=run)
    service.registry.set_alias("hamlet", "memory", version)
    for name, shape in {
        "town": {},
        "grey": {"bands": 1},
        "large": {"height": 512, "width": 512},
        "square": {"height": 256, "width": 256},
        "reflectance": {"dtype": "uint16"},
    }.items():
        service.storage.upload(write_scene(folder / f"{name}.tif", **shape), at(name)["uri"])
    service.storage.write_bytes(at("broken")["uri"], b"II*\0 this is no image")
    return "hamlet"


@pytest.fixture
def client(service: Service, town: str) -> Iterator[IcssClient]:
    with service.client() as client:
        yield client


@pytest.fixture(scope="package")
def updated(service: Service, town: str) -> UpdateStatus:
    """A finished update that added the class `building` to version 1."""
    with service.client() as client:
        started = client.add_class(
            town, "building", image=at("town")["uri"], clicks=building_clicks(), crs="pixel", overrides=SHORT
        )
        return client.wait(started.id, timeout=120, poll_seconds=0.1)
