"""The service as it runs: Ray Serve over HTTP, with S3, MLflow and the real updater process."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
from living import open_files
from open_ports import beyond_loopback
from rasterio.io import MemoryFile
from tiny_model import LONG, SHORT, building_clicks, write_scene, write_tiny_model

from icss_core.errors import BandMismatchError, ClickError
from services.client import IcssClient, UpdateFailedError
from services.errors import UnauthorisedError, VersionNotFoundError
from services.local.supervisor import descendants
from services.registry import Registry
from services.storage import Storage
from services.tracking import Tracking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.demo.report import DemoReport
    from services.local import LocalStack

pytestmark = pytest.mark.e2e

SCENE = "s3://icss/serving-test/town.tif"
GREY = "s3://icss/serving-test/grey.tif"
MODEL = "serving-test"


@pytest.fixture(scope="module")
def url(stack: LocalStack, demo_report: DemoReport) -> str:
    """The application that the demo has served, with a tiny model and its scene."""
    settings = stack.settings
    folder = stack.folder / "serving-test"
    folder.mkdir()
    run = Tracking(settings).create_run("icss-pretraining", name="tiny", tags={})
    registry = Registry(settings)
    version = registry.register(MODEL, write_tiny_model(folder / "model"), run_id=run)
    registry.set_alias(MODEL, "memory", version)
    Storage(settings).upload(write_scene(folder / "town.tif"), SCENE)
    Storage(settings).upload(write_scene(folder / "grey.tif", bands=1), GREY)
    return stack.addresses["API"]


@pytest.fixture
def client(url: str, stack: LocalStack) -> Iterator[IcssClient]:
    with IcssClient(url, stack.settings.require_api_token()) as client:
        yield client


def test_ports_that_ray_opens_to_other_machines_ask_for_the_stacks_certificate(
    url: str, stack: LocalStack
) -> None:
    """Ray Serve's replicas listen on all addresses, and unpickle what is sent to them."""
    trusted = ssl.create_default_context(cafile=stack.ray.certificate.path)
    trusted.set_alpn_protocols(["h2"])
    with_key = ssl.create_default_context(cafile=stack.ray.certificate.path)
    with_key.set_alpn_protocols(["h2"])
    with_key.load_cert_chain(stack.ray.certificate.path, stack.ray.certificate.key)
    ports = beyond_loopback(set(descendants(os.getpid())))
    assert ports, "Ray can be told by now where replicas listen: tell it, and drop the certificates"
    for port in ports:
        assert first_bytes(port, with_key)
        assert not first_bytes(port, trusted)
        assert not first_bytes(port, None)


def first_bytes(port: int, context: ssl.SSLContext | None) -> bytes:
    """What a gRPC server says first to a client; nothing if it refuses the connection."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            connection = plain if context is None else context.wrap_socket(plain, server_hostname="127.0.0.1")
            with connection:
                connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                return connection.recv(9)
    except (ssl.SSLError, ConnectionError):
        return b""


def test_class_is_added_and_the_map_is_made_with_it(client: IcssClient, stack: LocalStack) -> None:
    assert client.ready().parts == dict.fromkeys(("updater", "predictor", "mlflow", "object_store"), True)
    started = time.monotonic()
    update = client.add_class(
        MODEL, "building", image=SCENE, clicks=building_clicks(), crs="pixel", overrides=SHORT
    )
    done = client.wait(update.id, timeout=120, poll_seconds=0.1)
    print(f"update of {SHORT} took {time.monotonic() - started:.1f} s")  # noqa: T201 - shown by pytest -s
    assert done.result_version == 2
    assert done.forgetting is not None
    detail = client.model(MODEL)
    assert detail.aliases == {"memory": 1, "updated": 2}
    assert detail.versions[0].parent == 1

    prediction = client.predict(MODEL, "updated", SCENE)
    with MemoryFile(Storage(stack.settings).read_bytes(prediction.href)) as file, file.open() as made:
        assert (made.height, made.width, made.nodata) == (96, 160, 255)
        assert made.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert set(np.unique(made.read(1))) <= {0, 1, 2, 255}
    assert client.accept(MODEL, 2, expected=1).previous == 1
    assert client.accept(MODEL, 1, expected=2).previous == 2


def test_small_file_goes_there_and_back(client: IcssClient, tmp_path: Path) -> None:
    content = client.predict_file(MODEL, "memory", write_scene(tmp_path / "small.tif"))
    with MemoryFile(content) as file, file.open() as made:
        assert (made.height, made.width) == (96, 160)


def test_errors_of_other_processes_arrive_as_themselves(client: IcssClient, url: str) -> None:
    with pytest.raises(VersionNotFoundError, match="999"):  # raised in the predictor
        client.accept(MODEL, 999, expected=None)
    with pytest.raises(ClickError):
        client.add_class(MODEL, "pool", image=SCENE, clicks=building_clicks("pool", [(200, 0)]), crs="pixel")
    with pytest.raises(UnauthorisedError), IcssClient(url, "x" * 32) as stranger:
        stranger.models()


def test_what_is_refused_is_a_line_in_the_log_and_no_traceback(client: IcssClient, stack: LocalStack) -> None:
    with pytest.raises(BandMismatchError):
        client.predict(MODEL, "memory", GREY)
    (line,) = _lines(_wait_for_log(stack, "predictor", "BandMismatchError"), "BandMismatchError")
    assert "Predictor.predict: BandMismatchError: " in line
    assert "Traceback" not in _wait_for_log(stack, "predictor", "")


def test_more_at_once_than_there_is_room_for_are_told_to_come_again(
    client: IcssClient, url: str, stack: LocalStack, tmp_path: Path
) -> None:
    """Forty bodies of a megabyte at once: some are predicted, all others get an answer at once."""
    content = write_scene(tmp_path / "scene.tif", height=600, width=600).read_bytes()
    headers = {"Authorization": f"Bearer {stack.settings.require_api_token()}"}

    def send(_: int) -> httpx.Response:
        form = {"request": f'{{"model": "{MODEL}", "version": 1}}'}
        return httpx.post(
            f"{url}/v1/predictions", headers=headers, files={"file": ("a.tif", content)}, data=form,
            timeout=300,
        )  # fmt: skip

    with ThreadPoolExecutor(40) as senders:
        answers = list(senders.map(send, range(40)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 0 < len(refused) < 40
    assert {answer.status_code for answer in refused} <= {429, 503}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert client.ready().status == "ok"
    assert send(0).status_code == 200


def test_prediction_stops_when_its_client_goes_away(url: str, stack: LocalStack, tmp_path: Path) -> None:
    address = "s3://icss/serving-test/wide.tif"
    Storage(stack.settings).upload(write_scene(tmp_path / "wide.tif", height=512, width=2048), address)
    headers = {"Authorization": f"Bearer {stack.settings.require_api_token()}"}
    body = {
        "model": MODEL,
        "image": {"uri": address},
        "scales": [4],
        "tiling": {"window": 256, "overlap": 32},
    }
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}/v1/predictions", headers=headers, json=body, timeout=2)
    _wait_for_log(stack, "predictor", "its caller had gone away")


def test_running_update_is_cancelled(client: IcssClient) -> None:
    known = client.model(MODEL).aliases["updated"]
    update = client.add_class(
        MODEL, "pool", image=SCENE, clicks=building_clicks("pool"), crs="pixel", overrides=LONG
    )
    _wait_for_step(client, update.id, 3)
    client.cancel(update.id)
    with pytest.raises(UpdateFailedError) as failure:
        client.wait(update.id, timeout=30, poll_seconds=0.1)
    assert failure.value.status.status == "dismissed"
    assert client.model(MODEL).aliases["updated"] == known, "nothing was registered"


def test_update_survives_the_death_of_its_process(client: IcssClient, stack: LocalStack) -> None:
    running, waiting = (
        client.add_class(
            MODEL, name, image=SCENE, clicks=building_clicks(name), crs="pixel",
            overrides=SHORT | {"optimisation.iterations": iterations},
        )
        for name, iterations in (("shed", 60), ("pool", 3))
    )  # fmt: skip
    _wait_for_step(client, running.id, 2)
    (pid,) = _processes("ServeReplica:icss:updater", stack)
    os.kill(pid, signal.SIGKILL)
    first = client.wait(running.id, timeout=120)
    second = client.wait(waiting.id, timeout=60)
    assert _processes("ServeReplica:icss:updater", stack) != [pid]
    assert first.result_version is not None
    assert second.result_version is not None
    assert second.result_version > first.result_version, "the order is kept"
    detail = client.model(MODEL)
    assert sorted(
        version.run_id for version in detail.versions if version.run_id in {running.id, waiting.id}
    ) == (sorted([running.id, waiting.id])), "each is registered once"


def _wait_for_log(stack: LocalStack, deployment: str, text: str) -> str:
    """The log that the one replica of a deployment has open, once it has the text."""
    (pid,) = _processes(f"ServeReplica:icss:{deployment}", stack)
    (log,) = {file for file in open_files(pid) if "/logs/serve/" in str(file) and file.suffix == ".log"}
    deadline = time.monotonic() + 60
    while text not in (content := log.read_text()):
        assert time.monotonic() < deadline, f"{log} does not say {text!r}: {content[-2000:]}"
        time.sleep(0.1)
    return content


def _lines(log: str, text: str) -> list[str]:
    return [line for line in log.splitlines() if text in line]


def _wait_for_step(client: IcssClient, update_id: str, step: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = client.update(update_id)
        assert not status.is_finished, status
        if status.stage == "training" and (status.step or 0) >= step:
            return
        time.sleep(0.05)
    raise AssertionError(f"update {update_id} did not come to step {step}: {client.update(update_id)}")


def _processes(name: str, stack: LocalStack) -> list[int]:
    """Processes of this stack whose command line has the name."""
    token = f"ICSS_API_TOKEN={stack.settings.require_api_token()}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (
                name.encode() in (entry / "cmdline").read_bytes()
                and token in (entry / "environ").read_bytes()
            ):
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended, or belongs to somebody else
    return found
