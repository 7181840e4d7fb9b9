"""Many requests at once, and expensive ones: nobody is kept waiting by somebody else."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest
from tiny_model import at, write_scene

from icss_core.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from conftest import Service

    from services.serving.predictor import PredictionJob, PredictionOutcome

LARGE = 10**9
"""Network pixels that belong into the lane of the large ones."""


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def never() -> bool:
    return False


def predict(service: Service, scene: str, **changes: Any) -> httpx.Response:
    with service.http() as http:
        body = {"model": "hamlet", "version": 1, "image": at(scene)} | changes
        return http.post("/v1/predictions", json=body)


@contextmanager
def client_who_goes_away(service: Service, scene: str) -> Iterator[None]:
    """Asks for a prediction and, when the block ends, hangs up without having read an answer."""
    with service.http() as http:
        headers = dict(http.headers) | {"Content-Type": "application/json"}
    with closing(HTTPConnection(service.url.removeprefix("http://"))) as connection:
        connection.request(
            "POST", "/v1/predictions", json.dumps({"model": "hamlet", "image": at(scene)}), headers
        )
        yield


def test_large_bodies_at_once_are_bounded(service: Service, town: str, tmp_path: Path) -> None:
    content = write_scene(tmp_path / "large.tif", height=256, width=256).read_bytes()

    def send(_: int) -> httpx.Response:
        with service.http() as http:
            return http.post(
                "/v1/predictions",
                files={"file": ("large.tif", content)},
                data={"request": '{"model": "hamlet", "version": 1}'},
            )

    with ThreadPoolExecutor(12) as senders:
        with service.lanes.turn(LARGE, never):
            sent = [senders.submit(send, number) for number in range(12)]
            wait_until(lambda: sum(one.done() for one in sent) == 10)
            with service.http() as http:
                assert http.get("/v1/models").status_code == 200
            assert predict(service, "town").status_code == 200, "what is small gets in"
        answers = [one.result() for one in sent]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 10, "two may wait for their turn"
    assert all(answer.status_code == 200 for answer in answers if answer not in refused)
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert {answer.json()["error"]["type"] for answer in refused} == {"BusyError"}
    assert any("no room for this body" in answer.text for answer in refused)
    assert send(0).status_code == 200, "the room is given back"


def test_small_prediction_passes_a_large_one(service: Service, town: str) -> None:
    with ThreadPoolExecutor(1) as other, service.lanes.turn(LARGE, never):
        large = other.submit(predict, service, "square")
        wait_until(lambda: len(service.lanes) == 2)
        assert predict(service, "town").status_code == 200
        assert not large.done()
    assert large.result().status_code == 200


def test_large_ones_are_refused_before_they_crowd_out_the_small_ones(service: Service, town: str) -> None:
    with ThreadPoolExecutor(4) as others, service.lanes.turn(LARGE, never):
        sent = [others.submit(predict, service, "square") for _ in range(4)]
        wait_until(lambda: sum(one.done() for one in sent) == 2)
        assert predict(service, "town").status_code == 200
        refused = [one.result() for one in sent if one.done()]
    assert {answer.status_code for answer in refused} == {429}
    assert sorted(one.result().status_code for one in sent) == [200, 200, 429, 429]


def test_client_who_goes_away_gives_up_the_place(service: Service, town: str) -> None:
    with service.lanes.turn(LARGE, never):
        with client_who_goes_away(service, "square"):
            wait_until(lambda: len(service.lanes) == 2)
        wait_until(lambda: len(service.lanes) == 1)


def test_work_stops_when_the_client_goes_away(
    service: Service, town: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, stopped = threading.Event(), threading.Event()

    def endless(_: PredictionJob, should_stop: Callable[[], bool]) -> PredictionOutcome:
        started.set()
        for _ in range(1000):
            if should_stop():
                stopped.set()
                raise CancelledError("stopped")
            time.sleep(0.02)
        raise AssertionError("nobody stopped it")

    monkeypatch.setattr(service.predictions, "predict", endless)
    with client_who_goes_away(service, "town"):
        assert started.wait(20)
    assert stopped.wait(10)


@pytest.mark.parametrize(
    ("scene", "changes", "kind", "says"),
    [
        ("town", {"tiling": {"window": 64, "overlap": 63}}, "InvalidRequest", "4096 times"),
        ("town", {"tiling": {"window": 64, "overlap": 32}, "scales": [1, 3]}, "InvalidRequest", "40 times"),
        ("square", {"scales": [4], "tiling": {"window": 256}}, "InvalidParameterError", "1048576"),
        ("square", {"scales": [3, 2.75], "tiling": {"window": 512}}, "InvalidParameterError", "1000000"),
        ("reflectance", {}, "DtypeMismatchError", "uint16, the network was trained on uint8"),
    ],
)  # fmt: skip
def test_work_is_refused_by_arithmetic(
    service: Service, town: str, scene: str, changes: dict[str, Any], kind: str, says: str
) -> None:
    with service.lanes.turn(0, never), service.lanes.turn(LARGE, never):  # it is said before any waiting
        response = predict(service, scene, **changes)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (422, kind), error["message"]
    assert says in error["message"]


def test_image_that_must_be_decoded_as_one_is_bounded(service: Service, town: str, tmp_path: Path) -> None:
    import rasterio

    tiled = write_scene(tmp_path / "tiled.tif", height=256, width=256)
    with rasterio.open(tiled) as source:
        values, transform = source.read(), source.transform
    profile = {"height": 256, "width": 256, "count": 3, "dtype": "uint8", "transform": transform}
    with rasterio.open(tmp_path / "whole.png", "w", driver="PNG", **profile) as made:
        made.write(values)
    tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    with rasterio.open(tmp_path / "whole.tif", "w", driver="GTiff", **tiles, **profile) as made:
        made.write(values)
    with service.http() as http:
        for name in ("whole.png", "whole.tif"):
            refused = http.post("/v1/uploads", content=(tmp_path / name).read_bytes())
            assert refused.status_code == 422, name
            assert "convert it to a tiled GeoTIFF" in refused.json()["error"]["message"]
        assert http.post("/v1/uploads", content=tiled.read_bytes()).status_code == 201


@pytest.mark.parametrize("delivery", ["inline", "s3"])
def test_polygons_are_bounded_in_bytes(service: Service, town: str, delivery: str) -> None:
    wanted = {"format": "geojson", "delivery": delivery}
    whole = predict(service, "town", **wanted)
    assert whole.status_code == 200
    limit = service.settings.limits.max_inline_bytes
    if delivery == "inline":
        assert 1000 < len(whole.content) <= limit
        assert whole.json()["type"] == "FeatureCollection"
    refused = predict(service, "square", **wanted)
    assert refused.status_code == 422
    assert f"more than {limit} bytes" in refused.json()["error"]["message"]
