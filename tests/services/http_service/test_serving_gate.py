"""Who gets in and how much they may bring, before any route runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI, Request

from icss_core.errors import IcssError
from services.errors import BusyError, StorageError, TrackingError, TrackingUnavailableError
from services.serving.error_responses import STATUS, install_error_handlers, status_of
from services.serving.gate import FREE_BYTES, Gate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = "the right token"
LIMIT = 1000
GOOD = {"Authorization": f"Bearer {TOKEN}"}


class Seen:
    """What got past the gate."""

    def __init__(self) -> None:
        self.bytes = 0
        self.requests = 0


def guarded(seen: Seen) -> FastAPI:
    api = FastAPI()

    @api.post("/v1/things")
    async def things(request: Request) -> dict[str, int]:
        seen.requests += 1
        async for chunk in request.stream():
            seen.bytes += len(chunk)
        return {"bytes": seen.bytes}

    @api.post("/v1/parsed")
    async def parsed(body: dict[str, Any]) -> dict[str, Any]:
        return body

    @api.get("/v1/broken")
    async def broken() -> None:
        raise RuntimeError("the secret inside")

    @api.get("/v1/busy")
    async def busy() -> None:
        raise BusyError("too much")

    @api.get("/v1/own-failure")
    async def own_failure() -> None:
        raise IcssError("the secret inside")

    @api.get("/healthz")
    async def alive() -> str:
        return "yes"

    install_error_handlers(api)
    api.add_middleware(Gate, token=TOKEN, max_body_bytes=LIMIT, max_bodies_bytes=10 * LIMIT)
    return api


def call(api: FastAPI, method: str, path: str, **options: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=api)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert error["status"] == response.status_code
    return error


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN}x"},
    ],
)
def test_without_the_token_nothing_is_read(headers: dict[str, str]) -> None:
    seen = Seen()
    response = call(guarded(seen), "POST", "/v1/things", headers=headers, content=b"x" * 10)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert error_of(response)["type"] == "UnauthorisedError"
    assert TOKEN not in response.text
    assert seen.requests == 0


@pytest.mark.parametrize(
    "path", ["//v1/things", "/v1", "/V1/things", "/else", "/healthz/../v1/things", "/%76%31/things"]
)
def test_only_listed_paths_are_open(path: str) -> None:
    assert call(guarded(Seen()), "GET", path).status_code == 401


def test_open_path_and_right_token() -> None:
    seen = Seen()
    assert call(guarded(seen), "GET", "/healthz").status_code == 200
    response = call(guarded(seen), "POST", "/v1/things", headers=GOOD, content=b"x" * LIMIT)
    assert response.json() == {"bytes": LIMIT}
    lower = {"authorization": f"bearer {TOKEN}"}
    assert call(guarded(Seen()), "POST", "/v1/things", headers=lower, content=b"").status_code == 200


def test_declared_length_over_the_limit_is_refused_unread() -> None:
    seen = Seen()
    response = call(guarded(seen), "POST", "/v1/things", headers=GOOD, content=b"x" * (LIMIT + 1))
    assert response.status_code == 413
    assert error_of(response)["type"] == "BodyTooLargeError"
    assert seen.requests == 0


@pytest.mark.parametrize("path", ["/v1/things", "/v1/parsed"])
def test_undeclared_length_is_counted(path: str) -> None:
    seen = Seen()
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(50):
            sent += 100
            yield b"x" * 100

    response = call(guarded(seen), "POST", path, headers=GOOD, content=endless())
    assert response.status_code == 413
    assert error_of(response)["message"] == f"the body is larger than {LIMIT} bytes"
    assert seen.bytes <= LIMIT
    assert sent <= LIMIT + 200, "reading stops at the limit"


def test_failure_says_nothing_of_its_inside(caplog: pytest.LogCaptureFixture) -> None:
    for path in ("/v1/broken", "/v1/own-failure"):
        caplog.clear()
        response = call(guarded(Seen()), "GET", path, headers=GOOD)
        error = error_of(response)
        assert (response.status_code, error["type"]) == (500, "InternalError")
        assert "secret" not in response.text
        assert error["id"] in caplog.text
        assert "the secret inside" in caplog.text


def test_own_errors_have_their_status_and_headers(caplog: pytest.LogCaptureFixture) -> None:
    response = call(guarded(Seen()), "GET", "/v1/busy", headers=GOOD)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "10"
    assert error_of(response)["message"] == "too much"
    assert not caplog.records, "below 500 nothing is logged"


def test_unknown_path_wrong_method_and_malformed_body_have_the_same_shape() -> None:
    assert error_of(call(guarded(Seen()), "GET", "/v1/nothing", headers=GOOD))["type"] == "NotFound"
    assert error_of(call(guarded(Seen()), "GET", "/v1/things", headers=GOOD))["type"] == "MethodNotAllowed"
    malformed = error_of(call(guarded(Seen()), "POST", "/v1/parsed", headers=GOOD, content=b"{"))
    assert (malformed["type"], malformed["status"]) == ("InvalidRequest", 422)
    assert malformed["details"][0]["where"].startswith("body")


def test_every_error_class_finds_its_status() -> None:
    from icss_core import errors as core
    from services import errors as services

    for module in (core, services):
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, IcssError):
                assert status_of(kind("x")) in set(STATUS.values())


@pytest.mark.parametrize("declared", [True, False])
def test_bodies_held_at_once_are_bounded(declared: bool) -> None:
    """Ten bodies come while the application is busy with the first: what is over the limit is not taken."""
    size, room = 200_000, 400_000
    api, arrived, release = FastAPI(), [], asyncio.Event()

    @api.post("/v1/things")
    async def things(request: Request) -> int:
        arrived.extend([len(chunk) async for chunk in request.stream()])
        await release.wait()
        return 0

    @api.post("/v1/small")
    async def small(request: Request) -> int:
        return len(await request.body())

    install_error_handlers(api)
    api.add_middleware(Gate, token=TOKEN, max_body_bytes=size, max_bodies_bytes=room)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * (size // 10)

    async def all_of_them() -> tuple[list[httpx.Response], httpx.Response]:
        transport = httpx.ASGITransport(app=api)
        async with httpx.AsyncClient(transport=transport, base_url="http://service", headers=GOOD) as client:
            requests = [
                asyncio.create_task(client.post("/v1/things", content=b"x" * size if declared else pieces()))
                for _ in range(10)
            ]
            pending = set(requests)
            while len(pending) > 2:
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            first = await client.post("/v1/small", content=b"x" * FREE_BYTES)
            release.set()
            return await asyncio.gather(*requests), first

    responses, small_one = asyncio.run(all_of_them())
    assert small_one.json() == FREE_BYTES
    assert sorted(response.status_code for response in responses) == [200] * 2 + [429] * 8
    assert sum(arrived) <= room + 10 * FREE_BYTES
    refused = [response for response in responses if response.status_code == 429]
    assert {error_of(response)["type"] for response in refused} == {"BusyError"}
    assert {response.headers["retry-after"] for response in refused} == {"10"}
    assert call(api, "POST", "/v1/small", headers=GOOD, content=b"x" * size).status_code == 200


def test_failure_of_the_store_or_mlflow_names_no_address(caplog: pytest.LogCaptureFixture) -> None:
    api = FastAPI()

    @api.get("/v1/store")
    async def store() -> None:
        raise StorageError("could not connect to http://10.0.0.7:9000/icss")

    @api.get("/v1/mlflow")
    async def mlflow() -> None:
        raise TrackingError("API request to http://mlflow.inside:5000 failed\nfor /var/lib/icss")

    @api.get("/v1/silent")
    async def silent() -> None:
        raise TrackingUnavailableError("no answer from http://mlflow.inside:5000")

    install_error_handlers(api)
    for path, status in {"/v1/store": 502, "/v1/mlflow": 502, "/v1/silent": 503}.items():
        caplog.clear()
        response = call(api, "GET", path)
        error = error_of(response)
        assert response.status_code == status
        assert not any(inside in response.text for inside in ("http://", "10.0.0.7", "inside", "/var/lib"))
        (record,) = caplog.records
        assert error["id"] in record.getMessage(), "the log has the reason"
        assert "\n" not in record.getMessage()
        assert record.exc_info is None


def test_allow_names_every_method_of_a_path() -> None:
    api = FastAPI()

    @api.get("/v1/updates/{number}")
    async def look(number: int) -> int:
        return number

    @api.delete("/v1/updates/{number}")
    async def cancel(number: int) -> int:
        return number

    install_error_handlers(api)
    for method in ("OPTIONS", "PUT"):
        response = call(api, method, "/v1/updates/3")
        assert response.status_code == 405
        assert response.headers["allow"] == "DELETE, GET"
