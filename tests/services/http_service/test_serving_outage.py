"""MLflow or the object store stop answering: requests are told soon, and readiness names the part."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
from pausing_proxy import PausingProxy
from tiny_model import SHORT, at, building_clicks

from services.mlflow_calls import limit_waiting
from services.serving.admission import Admission
from services.serving.app import create_api
from services.serving.backend import Backend
from services.serving.images import Images
from services.serving.readiness import KEPT, PATIENCE, Readiness
from services.serving.requests import UpdateRequest
from services.serving.update_control import UpdateControl
from services.serving.update_records import UpdateRecords
from services.serving.update_run import UpdateRun
from services.storage import Storage
from services.tracking import Tracking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Service

    from icss_core.raster.reader import Raster
    from services.settings import Settings

UPDATE = {"image": at("town"), "new_class": {"name": "pool"}, "clicks": building_clicks(), "crs": "pixel"}
PREDICTION = {"model": "hamlet", "image": at("town")}


class IdlePredictor:
    """Stands for the part that predicts, to which no request comes here."""

    async def ready(self) -> bool:
        return True


@pytest.fixture
def proxies() -> Iterator[dict[str, PausingProxy]]:
    made: dict[str, PausingProxy] = {}
    yield made
    for proxy in made.values():
        proxy.close()


@pytest.fixture
def api(service: Service, town: str, proxies: dict[str, PausingProxy], monkeypatch: pytest.MonkeyPatch):
    """The service once more, over proxies to the same MLflow and object store, with a second's patience."""
    changes: dict[str, object] = {"mlflow_timeout": 1, "s3_timeout": 1}
    for part, setting in (("mlflow", "mlflow_uri"), ("object_store", "s3_endpoint")):
        proxies[part] = PausingProxy(urlsplit(getattr(service.settings, setting)).port or 0)
        changes[setting] = f"http://127.0.0.1:{proxies[part].port}"
    settings = service.settings.model_copy(update=changes)
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(name, "60")  # so that what `limit_waiting` sets is undone afterwards
    limit_waiting(settings)
    return create_api(
        Backend(settings, updater=service.updater, predictor=IdlePredictor()),
        token=settings.require_api_token(),
        max_body_bytes=settings.limits.max_body_bytes,
        max_bodies_bytes=settings.limits.max_bodies_bytes,
    )


def client_of(api, service: Service) -> httpx.AsyncClient:
    token = service.settings.require_api_token()
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=api),
        base_url="http://service",
        headers={"Authorization": f"Bearer {token}"},
    )


def test_every_route_says_soon_that_mlflow_does_not_answer(api, service, proxies) -> None:
    update = f"/v1/updates/{'0' * 32}"
    requests = [
        ("GET", "/v1/models", None),
        ("GET", "/v1/models/hamlet", None),
        *[("GET", "/v1/updates", None)] * 4,  # none of them waits for another one's first call
        ("GET", update, None),
        ("DELETE", update, None),
        ("POST", "/v1/models/hamlet/aliases/memory", {"version": 1}),
        ("POST", "/v1/models/hamlet/updates", UPDATE),
        ("POST", "/v1/predictions", PREDICTION),
    ]

    async def ask() -> tuple[list[httpx.Response], float, httpx.Response]:
        async with client_of(api, service) as client:
            with proxies["mlflow"].paused():
                begun = time.monotonic()
                answers = await asyncio.gather(
                    *(client.request(method, path, json=body) for method, path, body in requests)
                )
                took = time.monotonic() - begun
            return answers, took, await client.get("/v1/models")

    answers, took, afterwards = asyncio.run(ask())
    assert [answer.status_code for answer in answers] == [503] * len(requests)
    assert took < 10  # two attempts of a second each, in as many threads as the machine gives
    for answer in answers:
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.json()["error"]["type"] == "TrackingUnavailableError"
    assert afterwards.status_code == 200


def test_every_route_says_soon_that_the_object_store_does_not_answer(api, service, proxies) -> None:
    requests = [
        ("/v1/models/hamlet/updates", {"json": UPDATE}),
        ("/v1/uploads", {"files": {"file": ("a.tif", service.storage.read_bytes(at("town")["uri"]))}}),
    ]

    async def ask() -> tuple[list[httpx.Response], float]:
        async with client_of(api, service) as client:
            with proxies["object_store"].paused():
                begun = time.monotonic()
                answers = await asyncio.gather(*(client.post(path, **body) for path, body in requests))
                return answers, time.monotonic() - begun

    answers, took = asyncio.run(ask())
    assert [answer.status_code for answer in answers] == [503, 503], [answer.text for answer in answers]
    assert took < 10
    for answer in answers:
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.json()["error"]["type"] == "StorageUnavailableError"


class Held:
    """Stands for the lease that the queue takes."""

    is_lost = False

    def check(self) -> None:
        """Held."""


class ImagesInAnOutage(Images):
    """The store stops for three seconds as soon as the first image is open, and not read yet."""

    def __init__(self, settings: Settings, storage: Storage, store: PausingProxy) -> None:
        super().__init__(settings, storage)
        self.openings, self._store = 0, store

    @contextmanager
    def opened(self, address: str, **checks: Any) -> Iterator[Raster]:
        with super().opened(address, **checks) as raster:
            self.openings += 1
            if self.openings == 1:
                self._store.pause()
                threading.Timer(3, self._store.resume).start()
            yield raster


def test_an_update_that_loses_the_store_starts_over_when_it_is_back(api, service, proxies) -> None:
    address = f"http://127.0.0.1:{proxies['object_store'].port}"
    limits = service.settings.limits.model_copy(update={"max_pixels": 10**6})
    settings = service.settings.model_copy(update={"s3_endpoint": address, "limits": limits})
    storage = Storage(settings, timeout=1, attempts=1)  # gives up long before the store is back
    request = UpdateRequest(
        **UPDATE | {"image": at("large"), "clicks": building_clicks("pool")}, base=1, overrides=SHORT
    )
    order = Admission(service.registry, Images(settings, Storage(settings)), limits).admit("hamlet", request)
    tracking = Tracking(service.settings.model_copy(update={"experiment_prefix": "outages-of-tests"}))
    records = UpdateRecords(tracking, lease_seconds=2)
    images = ImagesInAnOutage(settings, storage, proxies["object_store"])
    update_id = records.create(order, key=None)
    control = UpdateControl(update_id, closing=threading.Event(), patience=60)
    control.begin(Held())
    version = UpdateRun(service.registry, images, records, tracking)(update_id, order, control)
    assert images.openings >= 2, "more on a machine that lets it wait for a second"
    assert service.registry.resolve("hamlet", version).run_id == update_id


@pytest.mark.parametrize("part", ["mlflow", "object_store"])
def test_readiness_names_the_part_that_does_not_answer(api, service, proxies, part: str) -> None:
    async def ask() -> tuple[dict[str, bool], list[httpx.Response], float, dict[str, bool]]:
        async with client_of(api, service) as client:
            before = (await client.get("/readyz")).json()["parts"]
            await asyncio.sleep(KEPT)
            with proxies[part].paused():
                begun = time.monotonic()
                answers = await asyncio.gather(*(client.get("/readyz") for _ in range(20)))
                took = time.monotonic() - begun
            for _ in range(20):
                after = (await client.get("/readyz")).json()["parts"]
                if all(after.values()):
                    break
                await asyncio.sleep(0.2)
            return before, answers, took, after

    before, answers, took, after = asyncio.run(ask())
    assert all(before.values())
    assert took < PATIENCE + 1
    for answer in answers:
        assert answer.status_code == 503
        # on a machine that is busy another part may be slow too; this one cannot have answered
        assert part in [name for name, ready in answer.json()["parts"].items() if not ready]
    assert all(after.values())


def test_a_part_is_asked_once_for_many_probes_and_again_after_a_moment() -> None:
    asked = 0

    async def question() -> bool:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        return True

    async def probe() -> list[dict[str, bool]]:
        readiness = Readiness({"part": question})
        answers = await asyncio.gather(*(readiness.ask() for _ in range(10)))
        await asyncio.sleep(KEPT + 0.05)
        return [*answers, await readiness.ask()]

    assert asyncio.run(probe()) == [{"part": True}] * 11
    assert asked == 2
