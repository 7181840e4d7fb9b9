"""The client against answers that the service gives only on bad days."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from icss_core.errors import ClickError, IcssError, InvalidParameterError
from services import client as client_module
from services.client import IcssClient, ServiceError, UpdateFailedError
from services.client_errors import ERRORS, error_of
from services.errors import TrackingError, UnavailableError, UpdateNotFoundError
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
        httpx.Response(307, headers={"location": "/elsewhere"}),
        httpx.Response(200, text="<html>log in first</html>"),
        httpx.Response(200, json={"something": "else"}),
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


def error(status: int, kind: type[IcssError], message: str = "away") -> httpx.Response:
    return httpx.Response(status, json={"error": {"type": kind.__name__, "message": message}})


@pytest.mark.parametrize(
    "bad", [error(502, TrackingError), error(503, UnavailableError), httpx.Response(504, text="gateway")]
)
def test_waiting_outlasts_a_moment_without_mlflow(bad: httpx.Response) -> None:
    done = httpx.Response(200, json=STATUS | {"status": "successful", "result_version": 2})
    answers = iter([bad, httpx.Response(200, json=STATUS), bad, bad, done])
    with client_of(lambda _: next(answers)) as client:
        assert client.wait("a" * 32, poll_seconds=0).result_version == 2


def test_waiting_is_bounded_and_names_the_last_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SILENCE_SECONDS", 0.1)
    with client_of(lambda _: error(502, TrackingError, "MLflow is away")) as client:
        with pytest.raises(ServiceError, match="TrackingError: MLflow is away"):
            client.wait("a" * 32)
        with pytest.raises(TimeoutError, match="TrackingError: MLflow is away"):
            client.wait("a" * 32, timeout=0.01)


@pytest.mark.parametrize(
    ("response", "kind"),
    [(error(404, UpdateNotFoundError), UpdateNotFoundError), (httpx.Response(418), ServiceError)],
)
def test_waiting_does_not_outlast_what_will_not_pass(response: httpx.Response, kind: type[IcssError]) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return response

    with client_of(answer) as client, pytest.raises(kind):
        client.wait("a" * 32)
    assert len(asked) == 1


def test_every_error_of_the_service_comes_back_as_itself() -> None:
    from services.serving import error_responses

    def kinds(of: type[IcssError]) -> set[type[IcssError]]:
        return {of}.union(*(kinds(one) for one in of.__subclasses__()))

    served = {
        one
        for one in kinds(IcssError)
        if one.__module__ != "services.client_errors" and not one.__name__.startswith("_")
    }
    assert served >= set(error_responses.STATUS)
    assert {one.__name__: one for one in served} == ERRORS
    for kind in served:
        body = json.loads(bytes(error_responses.error_response(kind("what happened")).body))
        raised = error_of(httpx.Response(500, json={"error": body["error"] | {"type": kind.__name__}}))
        assert type(raised) is kind


@pytest.mark.parametrize("name", ["a/b", "town?x=1", "../v1", "a b", "#", "%2e"])
def test_name_is_one_part_of_the_path(name: str) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path.decode())
        return httpx.Response(404)

    with client_of(answer) as client:
        with pytest.raises(ServiceError):
            client.model(name)
        with pytest.raises(ServiceError):
            client.update(name)
    assert [path.count("/") for path in asked] == [3, 3]
    assert not any("?" in path or "#" in path for path in asked)


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_what_cannot_be_part_of_a_path_is_not_sent(name: str) -> None:
    with client_of(lambda _: httpx.Response(500)) as client, pytest.raises(InvalidParameterError):
        client.model(name)


def test_accepting_says_what_is_expected() -> None:
    bodies = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={"model": "town", "alias": "memory", "version": 3, "previous": 2})

    with client_of(answer) as client:
        client.accept("town", 3, expected=2)
    assert bodies == [{"version": 3, "expected": 2}]


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
