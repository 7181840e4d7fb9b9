"""The client against answers that the service gives only on bad days."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import httpx
import pytest

from icss_core.errors import ClickError
from services.client import IcssClient, ServiceError, UpdateFailedError
from services.local.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable

STATUS = {
    "id": "a" * 32,
    "status": "running",
    "message": "running",
    "created": "2026-11-21T10:00:00Z",
    "progress": 10,
    "model": "town",
    "base_version": 1,
    "new_class": {"name": "building", "colour": [1, 2, 3]},
    "preset": "icss",
    "image": "s3://icss/x.tif",
    "clicks": {"building": 3},
}


def client_of(answer: Callable[[httpx.Request], httpx.Response]) -> IcssClient:
    return IcssClient("http://service", "token", transport=httpx.MockTransport(answer))


def test_error_comes_back_as_its_own_class() -> None:
    body = {"error": {"type": "ClickError", "status": 422, "message": "click 3 is off the raster"}}
    with (
        client_of(lambda _: httpx.Response(422, json=body)) as client,
        pytest.raises(ClickError, match="click 3"),
    ):
        client.models()


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(502, text="<html>bad gateway</html>"),
        httpx.Response(500, json={"error": "text"}),
        httpx.Response(500, json={"error": {"type": "InternalError", "message": "id 17"}}),
    ],
)
def test_answer_of_something_else_is_a_service_error(response: httpx.Response) -> None:
    with client_of(lambda _: response) as client, pytest.raises(ServiceError):
        client.models()


def test_nobody_there_is_a_service_error() -> None:
    (port,) = free_ports(1)
    with (
        IcssClient(f"http://127.0.0.1:{port}", "token") as client,
        pytest.raises(ServiceError, match="no answer"),
    ):
        client.models()


def test_waiting_outlasts_a_restart_of_the_service() -> None:
    answers = itertools.chain(
        [httpx.Response(503, text="restarting"), httpx.Response(200, json=STATUS)],
        [httpx.Response(502, text="restarting")],
        itertools.repeat(httpx.Response(200, json=STATUS | {"status": "successful", "result_version": 2})),
    )
    seen = []
    with client_of(lambda _: next(answers)) as client:
        done = client.wait("a" * 32, on_progress=lambda status: seen.append(status.status), poll_seconds=0)
    assert done.result_version == 2
    assert seen == ["running", "successful"]


def test_waiting_ends_with_the_update_and_with_its_time() -> None:
    failed = STATUS | {"status": "failed", "error": {"type": "ClickError", "message": "no data there"}}
    with client_of(lambda _: httpx.Response(200, json=failed)) as client:
        with pytest.raises(UpdateFailedError, match="ClickError: no data there") as failure:
            client.wait("a" * 32)
        assert failure.value.status.status == "failed"
    with client_of(lambda _: httpx.Response(200, json=STATUS)) as client, pytest.raises(TimeoutError):
        client.wait("a" * 32, poll_seconds=0, timeout=0.01)


def test_token_is_sent_and_image_is_told_apart() -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(202, json=STATUS)

    with client_of(answer) as client:
        for image in ("s3://icss/x.tif", "b" * 32):
            client.add_class("town", "building", image=image, clicks={}, request_id="mine")
    assert all(request.headers["authorization"] == "Bearer token" for request in requests)
    assert all(request.headers["idempotency-key"] == "mine" for request in requests)
    assert b'"uri":"s3://icss/x.tif"' in requests[0].content.replace(b'": ', b'":')
    assert b'"upload"' in requests[1].content
