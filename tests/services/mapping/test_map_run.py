"""Maps of several scenes with a real store and a real MLflow server; who works is a function of the test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pystac
import pytest
import rasterio
from mapped_scenes import WorkersHere, register_tiny, request_for, store_scene
from tiny_model import write_scene

from icss_core.errors import CancelledError
from icss_core.inference import predict_raster
from icss_core.networks import load_model
from icss_core.raster.polygons import polygons
from services.errors import StorageUnavailableError
from services.mapping.collection import collection_of, maps_table, totals_of
from services.mapping.job import maps_run
from services.mapping.meter import MapMeter
from services.mapping.planning import Planned, plan_scenes
from services.mapping.run import CANCEL, MapRun
from services.mapping.scene_mapper import SceneMapper
from services.mapping.scenes import find_scenes
from services.ownership import acquire, work_on
from services.registry import Registry
from services.storage import Storage
from services.tracking import Tracking

if TYPE_CHECKING:
    from pathlib import Path

    from services.mapping.request import MapRequest
    from services.mapping.workers import Task
    from services.settings import Settings

MODEL = "mapped"


@pytest.fixture(scope="module")
def version(mlflow_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> int:
    return register_tiny(mlflow_settings, tmp_path_factory.mktemp("mapped"), MODEL)


class Mapping:
    """A job without Ray, on one prefix."""

    def __init__(self, settings: Settings, request: MapRequest) -> None:
        self.settings, self.request = settings, request
        self.storage, self.tracking = Storage(settings), Tracking(settings)
        self.registry = Registry(settings)

    def planned(self) -> Planned:
        return plan_scenes(find_scenes(self.request, self.storage), self.request, self.registry, self.storage)

    def run(self, before: Any = lambda _task, _times: None) -> tuple[MapRun, list[Task]]:
        mapper = SceneMapper(self.request, self.registry, self.storage)
        workers = WorkersHere(mapper, before)
        lease = acquire(self.tracking, maps_run(self.request, self.tracking))
        with work_on(self.tracking, lease) as work:
            run = MapRun(self.planned(), work, self.tracking, MapMeter(MODEL), pause=0.01)
            run.map(workers)
        return run, workers.done

    def stored(self, name: str, folder: Path) -> Path:
        return self.storage.download(f"{self.request.out}/{name}", folder / "stored" / name)

    def expected(self, image: Path, folder: Path) -> np.ndarray:
        """The map as one process makes it of the local file."""
        network, card = load_model(self.registry.fetch(self.request.model, self.request.version))
        path = folder / f"{image.stem}-map.tif"
        predict_raster(
            network, image, path, label_space=card.label_space, tiling=self.request.tiling,
            confidence=self.request.confidence,
        )  # fmt: skip
        with rasterio.open(path) as file:
            return file.read()


def test_each_scene_gets_its_map_and_its_record(
    mlflow_settings: Settings, version: int, tmp_path: Path
) -> None:
    base = "s3://icss/data/region"
    images = {
        name: store_scene(mlflow_settings, tmp_path, f"{base}/in/{name}.tif", height=height)
        for name, height in (("north", 96), ("south", 130))
    }
    job = Mapping(mlflow_settings, request_for(MODEL, version, base, confidence=True, outlines="gpkg"))
    run, done = job.run()
    assert [task.plan.scene.name for task in done] == ["south", "north"], "the larger first"
    assert run.failures == {}
    for record in run.records:
        with rasterio.open(job.stored(f"{record.name}.tif", tmp_path)) as file:
            found = file.read()
            assert file.crs == "EPSG:32631"
        np.testing.assert_array_equal(found, job.expected(images[record.name], tmp_path))
        counts = np.bincount(found[0].ravel(), minlength=256)
        assert list(record.pixels.values()) == counts[:2].tolist()
        # UTM scale near its meridian: half a metre is half a metre within a thousandth
        np.testing.assert_allclose(list(record.square_metres.values()), counts[:2] * 0.25, rtol=2e-3)
        item = pystac.Item.from_file(str(job.stored(f"{record.name}.json", tmp_path)))
        assert item.assets["map"].href.endswith(f"/{record.name}.tif")
        assert item.properties["proj:code"] == "EPSG:32631"
        west, south, east, north = item.bbox
        assert 2 < west < east < 3
        assert 48 < south < north < 49
        names = [one["name"] for one in item.assets["map"].extra_fields["classification:classes"]]
        assert names == ["background", "road"]
        _, card = load_model(job.registry.fetch(MODEL, version))
        outlines = geopandas.read_file(job.stored(f"{record.name}.gpkg", tmp_path))
        features = list(polygons(job.stored(f"{record.name}.tif", tmp_path), card.label_space))
        assert len(outlines) == len(features) == record.outlines
        assert outlines.crs == "EPSG:4326"
        assert outlines["area_m2"].tolist() == [one["properties"]["area_m2"] for one in features]
    totals = totals_of(run.records)
    assert totals["maps"] == 2
    assert sum(totals["pixels"].values()) == sum(sum(record.pixels.values()) for record in run.records)
    assert maps_table(job.request, run.records).count("\n") == 3
    collection = pystac.Collection.from_dict(collection_of(job.request, run.records))
    assert {link.href for link in collection.get_links("item")} == {"./north.json", "./south.json"}
    assert item.collection_id == collection.id
    assert item.get_single_link("collection").get_href().endswith("/collection.json")


def test_what_is_done_is_passed_over_and_what_was_overwritten_is_not(
    mlflow_settings: Settings, version: int, tmp_path: Path
) -> None:
    base = "s3://icss/data/again"
    for name in ("kept", "overwritten"):
        store_scene(mlflow_settings, tmp_path, f"{base}/in/{name}.tif")
    job = Mapping(mlflow_settings, request_for(MODEL, version, base))
    job.run()
    assert len(job.planned().done) == 2
    store_scene(mlflow_settings, tmp_path, f"{base}/in/overwritten.tif", height=128)
    planned = job.planned()
    assert [record.name for record in planned.done] == ["kept"]
    assert [plan.scene.name for plan in planned.to_do] == ["overwritten"]
    other = Mapping(mlflow_settings, job.request.model_copy(update={"confidence": True}))
    assert other.planned().done == [], "another map was asked for"
    job.storage.write_bytes(f"{base}/out/kept.json", b"{}")
    assert job.planned().done == [], "a file that is no record makes no map complete"


def test_parts_of_a_large_scene_make_the_map_of_the_whole(
    mlflow_settings: Settings, version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icss_core.inference.tiling.BANDS_OF_A_PART", 3)
    base = "s3://icss/data/large"
    image = store_scene(mlflow_settings, tmp_path, f"{base}/in/large.tif", height=700, width=130)
    request = request_for(MODEL, version, base, confidence=True, part_pixels=130 * 200)
    job = Mapping(mlflow_settings, request)
    kinds: list[str] = []

    def interrupt_once(task: Task, times: int) -> None:
        kinds.append(task.kind)
        if task.kind == "join" and kinds.count("join") == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.run(interrupt_once)
    parts = kinds.count("part")
    assert parts == 4
    run, done = job.run(interrupt_once)
    assert [task.kind for task in done] == ["part"] * parts + ["join"]
    (record,) = run.records
    assert record.seconds < 10
    with rasterio.open(job.stored("large.tif", tmp_path)) as file:
        np.testing.assert_array_equal(file.read(), job.expected(image, tmp_path))
    assert not [address for address in job.storage.list(request.out) if "/.parts/" in address]


def test_scenes_that_cannot_be_mapped_do_not_stop_the_others(
    mlflow_settings: Settings, version: int, tmp_path: Path
) -> None:
    base = "s3://icss/data/mixed"
    job = Mapping(mlflow_settings, request_for(MODEL, version, base))
    store_scene(mlflow_settings, tmp_path, f"{base}/in/good.tif")
    store_scene(mlflow_settings, tmp_path, f"{base}/in/flaky.tif")
    store_scene(mlflow_settings, tmp_path, f"{base}/in/cursed.tif")
    job.storage.write_bytes(f"{base}/in/broken.tif", b"II*\0 and no TIFF")
    one_band = write_scene(tmp_path / "grey.tif", bands=1)
    job.storage.upload(one_band, f"{base}/in/grey.tif")

    def fail(task: Task, times: int) -> None:
        if task.plan.scene.name == "flaky" and times < 2:
            raise StorageUnavailableError("the store is away")
        if task.plan.scene.name == "cursed":
            raise StorageUnavailableError("the store is away for this one")

    run, done = job.run(fail)
    assert sorted(record.name for record in run.records) == ["flaky", "good"]
    assert {address.rpartition("/")[2]: one.error for address, one in run.failures.items()} == {
        "broken.tif": "ImageUnreadableError",
        "grey.tif": "BandMismatchError",
        "cursed.tif": "StorageUnavailableError",
    }
    tried = [task.plan.scene.name for task in done]
    assert tried.count("flaky") == 3
    assert tried.count("cursed") == 6


def test_scene_that_is_overwritten_meanwhile_is_not_mapped_half(
    mlflow_settings: Settings, version: int, tmp_path: Path
) -> None:
    base = "s3://icss/data/moving"
    job = Mapping(mlflow_settings, request_for(MODEL, version, base))
    store_scene(mlflow_settings, tmp_path, f"{base}/in/moving.tif")

    def overwrite(task: Task, times: int) -> None:
        store_scene(mlflow_settings, tmp_path, f"{base}/in/moving.tif", height=200)

    run, done = job.run(overwrite)
    assert [one.error for one in run.failures.values()] == ["ImageChangedError"]
    assert len(done) == 1, "trying again is no use"
    assert not job.storage.exists(f"{base}/out/moving.json")
    run, _ = job.run()
    assert [record.height for record in run.records] == [200]


def test_job_stops_when_it_is_asked_to(
    mlflow_settings: Settings, version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.mapping.run._TELL_SECONDS", 0.0)
    base = "s3://icss/data/stopped"
    job = Mapping(mlflow_settings, request_for(MODEL, version, base))
    for name in "abcdef":
        store_scene(mlflow_settings, tmp_path, f"{base}/in/{name}.tif")
    run_id = maps_run(job.request, job.tracking)

    def cancel(task: Task, times: int) -> None:
        job.tracking.set_tags(run_id, {CANCEL: "requested"})

    with pytest.raises(CancelledError, match="maps that are done stay"):
        job.run(cancel)
    record = job.tracking.get(run_id)
    assert record.tags["icss.status"] == "dismissed"
    assert record.status == "KILLED"
    assert record.metrics["done"] == 2
    assert len(job.planned().done) == 2


def test_outlines_as_geoparquet(mlflow_settings: Settings, version: int, tmp_path: Path) -> None:
    base = "s3://icss/data/parquet"
    store_scene(mlflow_settings, tmp_path, f"{base}/in/one.tif")
    job = Mapping(mlflow_settings, request_for(MODEL, version, base, outlines="parquet", min_area=30))
    run, _ = job.run()
    table = geopandas.read_parquet(job.stored("one.parquet", tmp_path))
    assert len(table) == run.records[0].outlines
    assert (table["area_m2"] >= 30).all()
    assert table.crs == "EPSG:4326"
    item = json.loads(job.stored("one.json", tmp_path).read_text())
    assert item["assets"]["outlines"]["href"] == "./one.parquet"
