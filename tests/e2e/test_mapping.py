"""Maps of a region on a real cluster: a node that is lost, and a job whose process is stopped."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from jobs import in_cluster
from living import command_of, kill_with_descendants
from tiny_model import write_scene, write_tiny_model

from icss_core.inference import predict_raster
from icss_core.networks import load_model
from services.errors import ConflictError
from services.local.process import ManagedProcess
from services.local.supervisor import descendants
from services.mapping.job import run_maps
from services.mapping.map_jobs import MapJobs
from services.mapping.request import MapRequest
from services.ownership import STATUS
from services.ray_jobs import job_client
from services.registry import Registry
from services.serving.region_maps import RegionMaps
from services.serving.requests import MapsRequest
from services.serving.responses import FINISHED
from services.storage import Storage
from services.tracking import Tracking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

    from services.local import LocalStack
    from services.mapping.job import MapsResult
    from services.mapping.workers import Task
    from services.settings import Settings

pytestmark = pytest.mark.e2e

MODEL = "mapping-town"
SCENES = 6


@pytest.fixture(scope="module")
def region(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> tuple[MapRequest, Path]:
    """What is asked for, and the local copies of the scenes; one more object is no image."""
    folder = tmp_path_factory.mktemp("region")
    settings, storage = stack.settings, Storage(stack.settings)
    run = Tracking(settings).create_run("icss-pretraining", name=MODEL, tags={})
    version = Registry(settings).register(MODEL, write_tiny_model(folder / "model"), run_id=run)
    Registry(settings).set_alias(MODEL, "updated", version)
    base = f"{settings.data_prefix}/e2e-region"
    for number in range(SCENES):
        path = write_scene(folder / f"{number}.tif", height=400 + 32 * number, width=900)
        storage.upload(path, f"{base}/in/{number}.tif")
    storage.write_bytes(f"{base}/in/broken.tif", b"II*\0 but nothing behind it")
    asked = {"images": [f"{base}/in/"], "out": f"{base}/out", "workers": 2, "tiling": {"window": 128}}
    return MapRequest.model_validate({"model": MODEL, "version": version, **asked}), folder


@pytest.fixture
def another_node(stack: LocalStack, tmp_path: Path) -> Iterator[ManagedProcess]:
    """A second node of the cluster, with all its processes; whole machines are lost in `tests/cluster`."""
    program = Path(__file__).with_name("another_node.py")
    command = [sys.executable, str(program), stack.ray.cluster]
    environment = {**stack.environment(), "RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE": "1"}
    node = ManagedProcess("a node", command, environment=environment, log=tmp_path / "node.log")
    try:
        node.wait_until(lambda: "it runs" in node.log.read_text(errors="replace"), seconds=120)
        yield node
    finally:
        node.stop()


def workers_on(node: int) -> list[int]:
    """Process ids of the map workers among all processes of a node, which is a process that started them."""
    return [pid for pid in descendants(node) if "MapWorker" in command_of(pid)]


def map_while_a_node_is_lost(request: MapRequest, settings: Settings, node: int) -> MapsResult:
    """A job that loses a node, which has one of its two workers, as soon as both have something to do."""
    from services.mapping.workers import MapWorkers

    give, free = MapWorkers.give, MapWorkers.free
    lost: list[int] = []

    def free_when_both_are_ready(self: MapWorkers, waiting: int) -> int | None:
        return free(self, waiting) if lost or self.ready == 2 else None

    def give_and_lose(self: MapWorkers, number: int, task: Task) -> None:
        give(self, number, task)
        if not lost and {worker for worker, _ in self._doing.values()} == {0, 1}:
            lost.extend(workers_on(node))
            kill_with_descendants(node)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MapWorkers, "free", free_when_both_are_ready)
        patch.setattr(MapWorkers, "give", give_and_lose)
        result = run_maps(request, settings)
    assert len(lost) == 1
    return result


def test_region_is_mapped_although_a_node_is_lost(
    stack: LocalStack,
    job_process: Executor,
    region: tuple[MapRequest, Path],
    another_node: ManagedProcess,
    tmp_path: Path,
) -> None:
    request, folder = region
    storage = Storage(stack.settings)
    arguments = (request, stack.settings, another_node.pid)
    result = job_process.submit(in_cluster, map_while_a_node_is_lost, *arguments).result()
    assert result.maps == SCENES
    assert [one.error for one in result.failures.values()] == ["ImageUnreadableError"]
    network, card = load_model(folder / "model")
    for number in range(SCENES):
        expected = tmp_path / f"{number}-expected.tif"
        predict_raster(
            network, folder / f"{number}.tif", expected, label_space=card.label_space, tiling=request.tiling
        )
        stored = storage.download(f"{request.out}/{number}.tif", tmp_path / f"{number}.tif")
        with rasterio.open(expected) as one, rasterio.open(stored) as other:
            np.testing.assert_array_equal(other.read(), one.read())
            assert other.crs == one.crs
    collection = json.loads(storage.read_bytes(f"{request.out}/collection.json"))
    assert sum(link["rel"] == "item" for link in collection["links"]) == SCENES
    tracking = Tracking(stack.settings)
    run = tracking.get(result.run_id)
    assert run.tags[STATUS] == "successful"
    assert run.tags["icss.scenes_failed"] == "1"
    assert tracking.read_bytes(result.run_id, "failures.csv").count(b"\n") == 2
    totals = tracking.read_json(result.run_id, "totals.json")
    assert sum(totals["square_kilometres"].values()) == pytest.approx(
        sum((400 + 32 * number) * 890 * 0.25e-6 for number in range(SCENES)), rel=1e-2
    )


def test_job_asked_for_over_http_outlives_its_process(
    stack: LocalStack, region: tuple[MapRequest, Path]
) -> None:
    """The same maps once more: only what is left is made, although the first process is stopped."""
    request, _ = region
    settings, storage, tracking = stack.settings, Storage(stack.settings), Tracking(stack.settings)
    storage.delete(f"{request.out}/3.json")  # as if the job had ended just before
    before = {entry.address: entry.written for entry in storage.entries(request.out)}
    maps, jobs = RegionMaps(settings, Registry(settings), storage, tracking), MapJobs(settings, tracking)
    asked = MapsRequest(
        model=MODEL, version="updated", images=list(request.images), out=request.out, tiling={"window": 128}
    )
    started = maps.start(asked)
    assert started.status == "accepted"
    assert maps.start(asked).id == started.id
    client = job_client(settings.jobs_address, stack.ray.token)
    first = submission_of(tracking, started.id)
    client.stop_job(first)
    deadline = time.monotonic() + 60
    while not jobs.keep():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert jobs.keep() == [], "the new process is at it"
    while (status := maps.status(started.id)).status not in FINISHED:
        assert time.monotonic() < deadline + 120, status
        time.sleep(0.2)
    assert status.status == "successful"
    assert (status.scenes, status.done, status.failed) == (SCENES + 1, SCENES, 1)
    assert sum(status.square_kilometres.values()) > 0
    after = {entry.address: entry.written for entry in storage.entries(request.out)}
    changed = {name.rpartition("/")[2] for name, when in after.items() if before.get(name) != when}
    assert changed == {"3.tif", "3.tif.aux.xml", "3.json", "collection.json"}
    second = submission_of(tracking, started.id)
    while client.get_job_status(second) not in {"FAILED", "SUCCEEDED"}:
        assert time.monotonic() < deadline + 150
        time.sleep(0.2)
    # Ray may overlook a process that it has started this moment: that goes on, and the second waits for it
    log = client.get_job_logs(first) + client.get_job_logs(second)
    assert f"/runs/{started.id}" in log, "the address of its MLflow run"
    assert f"{SCENES} maps under {request.out}" in log
    with pytest.raises(ConflictError, match="ended: successful"):
        maps.cancel(started.id)


def submission_of(tracking: Tracking, run_id: str) -> str:
    record = tracking.get(run_id)
    return str(record.tags["icss.submission"].partition(" ")[2])
