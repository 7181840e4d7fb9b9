"""A machine is lost in the middle of a pretraining, a map of a region, an update, and predictions."""

from __future__ import annotations

import re
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from ray_nodes import wait_until
from tiny_model import building_clicks, write_scene, write_tiny_model

from icss_core.inference import Tiling, predict_raster
from icss_core.networks import load_model
from services.client import IcssClient, ServiceError
from services.errors import BusyError, TrackingUnavailableError, UnavailableError
from services.ingest import ingest_town
from services.ownership import STATUS
from services.registry import MEMORY, Registry
from services.storage import Storage
from services.tracking import MAPS, PRETRAINING, Tracking

if TYPE_CHECKING:
    from pathlib import Path

    from ray_nodes import RayNodes

    from services.tracking import RunRecord

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

ITERATIONS = 400
SCENES = 8
MODEL = "hamlet"


@pytest.fixture(scope="module")
def hamlet(cluster: RayNodes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the model `hamlet`, whose only version is its memory."""
    folder = tmp_path_factory.mktemp("hamlet")
    run = Tracking(cluster.settings).create_run(PRETRAINING, name=MODEL, tags={})
    registry = Registry(cluster.settings)
    version = registry.register(MODEL, write_tiny_model(folder / "model"), run_id=run)
    registry.set_alias(MODEL, MEMORY, version)
    return folder


def run_of(tracking: Tracking, model: str) -> RunRecord | None:
    found = tracking.find(PRETRAINING, tags={"icss.model": model})
    return found[0] if found else None


def test_pretraining_goes_on_with_its_last_checkpoint(two_nodes: RayNodes) -> None:
    cluster, tracking = two_nodes, Tracking(two_nodes.settings)
    town = ingest_town(Storage(cluster.settings), "s3://icss/town", train=2, val=1, size=256, seed=7)
    submission = cluster.run(
        "services.training", "--dataset", f"{town.base}/dataset.yaml", "--model", "town", "--classes", "road",
        "--encoder", "tu-test_resnet", "--crop", "64", "--batch", "2", "--iterations", str(ITERATIONS),
        "--checkpoint-every", "40", "--validate-every", "100000", "--workers", "2",
    )  # fmt: skip

    def saved() -> bool:
        record = run_of(tracking, "town")
        return record is not None and "icss.checkpoint_iteration" in record.tags

    wait_until(saved, seconds=240)
    cluster.lose(cluster.nodes[0])
    cluster.add_node()
    cluster.wait_for(submission, seconds=400)
    record = run_of(tracking, "town")
    assert record is not None
    assert record.tags[STATUS] == "successful"
    assert int(record.tags["icss.resumed_at"].split(",")[0]) >= 40
    steps = [step for step, _ in tracking.metric_history(record.run_id, "loss")]
    assert steps == list(range(1, ITERATIONS + 1)), "each iteration is told once"
    assert Registry(cluster.settings).resolve("town", MEMORY).version == 1


def test_every_scene_of_a_region_gets_its_map(two_nodes: RayNodes, hamlet: Path, tmp_path: Path) -> None:
    cluster, storage, tracking = two_nodes, Storage(two_nodes.settings), Tracking(two_nodes.settings)
    for number in range(SCENES):
        scene = write_scene(tmp_path / f"{number}.tif", height=500 + 32 * number, width=1200)
        storage.upload(scene, f"s3://icss/region/{number}.tif")
    submission = cluster.run(
        "services.mapping", "--model", f"{MODEL}@memory", "--images", "s3://icss/region/",
        "--out", "s3://icss/maps", "--workers", "2", "--window", "64", "--overlap", "32",
    )  # fmt: skip

    def some_are_mapped() -> bool:
        return any(address.endswith(".json") for address in storage.list("s3://icss/maps"))

    def records() -> dict[str, object]:
        found = storage.entries("s3://icss/maps")
        return {one.address: one.written for one in found if re.search(r"/\d+\.json$", one.address)}

    wait_until(some_are_mapped, seconds=240)
    lost = cluster.node_of("MapWorker")
    assert lost is not None
    before = records()
    cluster.lose(lost)
    cluster.add_node()
    log = cluster.wait_for(submission, seconds=400)
    assert f"{SCENES} maps under s3://icss/maps" in log
    assert "has died, and is started again" in log
    after = records()
    assert {address: after[address] for address in before} == before, "what was done is not done again"
    (record,) = tracking.find(MAPS, tags={"icss.out": "s3://icss/maps"})
    assert record.tags[STATUS] == "successful"
    network, card = load_model(hamlet / "model")
    for number in range(SCENES):
        expected = tmp_path / "expected.tif"
        predict_raster(
            network, tmp_path / f"{number}.tif", expected, label_space=card.label_space,
            tiling=Tiling(window=64, overlap=32),
        )  # fmt: skip
        found = storage.download(f"s3://icss/maps/{number}.tif", tmp_path / "found.tif")
        with rasterio.open(expected) as one, rasterio.open(found) as other:
            np.testing.assert_array_equal(other.read(), one.read())


class Load:
    """Predictions, one after another, until it is stopped; refusals that ask to come again are counted."""

    def __init__(self, url: str, token: str, image: str) -> None:
        self._url, self._token, self._image = url, token, image
        self._stop = threading.Event()
        self.done = 0
        self.refused = 0
        self.failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with IcssClient(self._url, self._token, timeout=60) as client:
            while not self._stop.is_set():
                try:
                    client.predict(MODEL, "memory", self._image)
                    self.done += 1
                except (UnavailableError, TrackingUnavailableError, BusyError):
                    self.refused += 1
                    time.sleep(0.5)
                except ServiceError as error:
                    # the connection broke, or the proxy has nobody to pass it on to
                    self.refused += 1
                    self.failures.append(error)
                    time.sleep(0.5)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(90)
        assert not self._thread.is_alive()


def lose_node_of(actor: str, cluster: RayNodes) -> None:
    """Lose the machine of a replica, bring another one, and wait until the replica is back."""
    # it may have been on the machine that was lost last, and be on its way
    wait_until(lambda: cluster.node_of(actor) is not None, seconds=180)
    lost = cluster.node_of(actor)
    assert lost is not None
    cluster.lose(lost)
    cluster.add_node()
    wait_until(lambda: cluster.node_of(actor) is not None, seconds=180)


def test_update_and_predictions_outlive_the_node_of_their_replicas(
    two_nodes: RayNodes, hamlet: Path, tmp_path: Path
) -> None:
    cluster, settings = two_nodes, two_nodes.settings
    image = "s3://icss/scenes/town.tif"
    Storage(settings).upload(write_scene(tmp_path / "town.tif"), image)
    cluster.wait_for(cluster.run("services.serving"), seconds=300)
    url, token = f"http://{settings.api_host}:{settings.api_port}", settings.require_api_token()
    load = Load(url, token, image)
    with IcssClient(url, token) as client:
        wait_until(lambda: load.done > 0, seconds=120)
        long = {"optimisation.iterations": 600, "crops.size": 64, "crops.batch": 1, "head_fit.iterations": 2}
        update = client.add_class(
            MODEL, "building", image=image, clicks=building_clicks(), crs="pixel", overrides=long
        )
        wait_until(lambda: (client.update(update.id).step or 0) > 10, seconds=120)
        short = long | {"optimisation.iterations": 3}
        others = [
            client.add_class(
                MODEL, name, image=image, clicks=building_clicks(name), crs="pixel", overrides=short
            )
            for name in ("shed", "pool")
        ]
        before = load.done
        for replica in ("updater", "predictor"):
            lose_node_of(f"icss#{replica}#", cluster)
        done = [client.wait(one.id, timeout=400) for one in (update, *others)]
        assert [one.status for one in done] == ["successful"] * 3
        versions = [one.version for one in client.model(MODEL).versions if one.version != 1]
        assert sorted(versions) == sorted(one.result_version for one in done), "each is made once"
        after = load.done
        wait_until(lambda: load.done > max(after, before), seconds=180)
    load.stop()
    sys.stdout.write(
        f"{load.done} predictions, {load.refused} refusals, {len(load.failures)} without a reason\n"
    )
    # of each node that was lost: the request that it had, and one on its way there before that was known
    assert len(load.failures) <= 4, load.failures
    stopped = cluster.run("services.serving", "--stop")
    cluster.wait_for(stopped, seconds=120)
