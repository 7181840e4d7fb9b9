"""What a store may answer to a range, played by a server that answers as told; real reads are elsewhere."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from services.errors import ConflictError, ObjectNotFoundError, StorageError
from services.s3_address import S3Address
from services.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.object_ranges import ObjectRanges
    from services.settings import Settings

PLACE = S3Address.parse("s3://icss/data/a b/ü+(1).tif")
CONTENT = bytes(range(200))
Answer = tuple[int, dict[str, str], bytes]


def part(start: int, end: int, *, status: int = 206, tag: str = '"t"') -> Answer:
    """The right answer for bytes from `start` to before `end`."""
    span = {"Content-Range": f"bytes {start}-{end - 1}/{len(CONTENT)}", "ETag": tag}
    return status, span | {"Content-Length": str(end - start)}, CONTENT[start:end]


def refusal(status: int, code: str) -> Answer:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Key>a</Key></Error>".encode()
    return status, {"Content-Length": str(len(body)), "Content-Type": "application/xml"}, body


@contextmanager
def store(settings: Settings, *answers: Answer) -> Iterator[tuple[Storage, list[Any]]]:
    """A store that gives these answers in turn, the last one for ever, and the requests that came."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, dict(self.headers)))
            status, headers, body = answers[min(len(asked), len(answers)) - 1]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            endpoint = f"http://127.0.0.1:{server.server_port}"
            yield Storage(settings.model_copy(update={"s3_endpoint": endpoint})), asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    from services.settings import Settings as Built

    monkeypatch.setattr("services.object_ranges._WAIT", 0.0)
    return Built(
        s3_access_key="key", s3_secret_key=SecretStr("a-secret"), data_prefix="s3://icss",
        mlflow_uri="http://127.0.0.1:9", cache_dir=tmp_path,
    )  # fmt: skip


def ranges(storage: Storage) -> ObjectRanges:
    return storage._ranges


@pytest.mark.parametrize("status", [200, 206])
def test_the_size_is_that_of_the_object_whatever_the_status(settings: Settings, status: int) -> None:
    with store(settings, part(10, 30, status=status)) as (storage, asked):
        assert ranges(storage).get(PLACE, 10, 20) == (CONTENT[10:30], 200, '"t"')
    path, headers = asked[0]
    assert path == "/icss/data/a%20b/%C3%BC%2B%281%29.tif"
    assert headers["Range"] == "bytes=10-29"
    assert "Credential=key/" in headers["Authorization"]
    assert "If-Match" not in headers


def test_the_end_of_an_object_is_shorter_and_an_empty_object_is_empty(settings: Settings) -> None:
    with store(settings, part(150, 200)) as (storage, _):
        assert ranges(storage).get(PLACE, 150, 64).content == CONTENT[150:]
    with store(settings, refusal(416, "InvalidRange")) as (storage, _):
        assert ranges(storage).get(PLACE, 0, 64)[:2] == (b"", 0)


@pytest.mark.parametrize(
    "answer",
    [
        refusal(412, "PreconditionFailed"),
        refusal(416, "InvalidRange"),  # shorter than it was, from a store that knows no condition
        part(10, 30, tag='"another"'),
    ],
)
def test_an_object_that_was_replaced_is_a_conflict(settings: Settings, answer: Answer) -> None:
    with store(settings, answer) as (storage, asked):
        with pytest.raises(ConflictError, match="was replaced while it was read"):
            ranges(storage).get(PLACE, 10, 20, tag='"t"')
        assert [headers["If-Match"] for _, headers in asked] == ['"t"']


@pytest.mark.parametrize(
    "passing",
    [
        refusal(503, "SlowDown"),
        refusal(500, "InternalError"),
        refusal(429, "TooManyRequests"),
        (206, part(10, 30)[1], CONTENT[10:15]),  # the connection broke off
    ],
)
def test_what_passes_is_tried_again(settings: Settings, passing: Answer) -> None:
    with store(settings, passing, passing, part(10, 30)) as (storage, asked):
        assert ranges(storage).get(PLACE, 10, 20).content == CONTENT[10:30]
    assert len(asked) == 3
    with store(settings, passing) as (storage, asked):
        with pytest.raises(StorageError, match="s3://icss/data/a b/"):
            ranges(storage).get(PLACE, 10, 20)
        assert len(asked) == 4


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (refusal(404, "NoSuchKey"), ObjectNotFoundError, "does not exist"),
        (refusal(403, "SignatureDoesNotMatch"), StorageError, "refused to read .*: SignatureDoesNotMatch"),
        ((200, {"Content-Length": "200", "ETag": '"t"'}, CONTENT), StorageError, "only as a whole"),
        (part(0, 20), StorageError, "only as a whole"),
        ((301, {"Content-Length": "0", "Location": "http://127.0.0.1:9/"}, b""), StorageError, "as a whole"),
    ],
)
def test_what_stays_is_said_at_once(
    settings: Settings, answer: Answer, error: type[StorageError], says: str
) -> None:
    with store(settings, answer) as (storage, asked):
        with pytest.raises(error, match=says) as caught:
            ranges(storage).get(PLACE, 10, 20)
        assert len(asked) == 1
    assert "a-secret" not in str(caught.value)
    assert str(PLACE) in str(caught.value)


def test_a_body_that_breaks_off_is_read_again(settings: Settings) -> None:
    whole = {"Content-Length": "200", "ETag": '"t"'}
    with store(settings, (200, whole, CONTENT[:50]), (200, whole, CONTENT)) as (storage, asked):
        assert storage.read_bytes(str(PLACE)) == CONTENT
    assert len(asked) == 2
    with store(settings, (200, whole, CONTENT[:50])) as (storage, asked):
        with pytest.raises(StorageError, match="did not read"):
            storage.read_bytes(str(PLACE))
        assert len(asked) == 4
