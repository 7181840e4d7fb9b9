"""What is old is deleted and what is in use is kept, on a real store and a real MLflow server."""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from icss_core.labels import ClassInfo
from icss_core.methods import get_preset
from services.cli.app import app
from services.errors import TrackingError
from services.ownership import take
from services.retention import Retention, RetentionThread
from services.serving.orders import UpdateOrder
from services.settings import environment_of
from services.storage import Storage
from services.tracking import PRETRAINING, UPDATES, Tracking
from services.updating.job import UPDATE_JOB

DATA = "s3://icss/data/retention"
OLD, NEW = timedelta(days=31), timedelta(hours=2)


@pytest.fixture
def settings(mlflow_settings, tmp_path, monkeypatch):
    changes = {"data_prefix": f"{DATA}/{tmp_path.name}", "cache_dir": tmp_path, "lease_seconds": 0.5}
    changes["experiment_prefix"] = "retention-of-tests"  # or a service that runs takes up its updates
    own = mlflow_settings.model_copy(update=changes)
    for name, value in environment_of(own).items():
        monkeypatch.setenv(name, value)
    return own


@pytest.fixture
def storage(settings):
    return Storage(settings)


@pytest.fixture
def tracking(settings):
    return Tracking(settings)


@pytest.fixture
def retention(settings, storage, tracking):
    return Retention(settings, storage, tracking)


def put(storage, settings, *keys: str) -> None:
    for key in keys:
        storage.write_bytes(f"{settings.data_prefix}/{key}", b"x")


def kept(storage, settings) -> set[str]:
    return {one.removeprefix(f"{settings.data_prefix}/") for one in storage.list(settings.data_prefix)}


def job(tracking, name: str, **tags: str) -> str:
    tags = {key.replace("_", "."): value for key, value in tags.items()}
    return tracking.create_run(PRETRAINING, name=name, tags={"icss.job": name, **tags})


def update_on(tracking, image: str, status: str) -> str:
    order = UpdateOrder(
        request="0" * 64, model="m", base_version=1, image=image, image_etag="e",
        new_class=ClassInfo(name="b", colour=(1, 2, 3)), clicks={}, crs=None, click_counts=(),
        points={"rows": [], "cols": [], "labels": []}, bands=None,
        preset=get_preset("icss"), overrides={}, seed=0,
    )  # fmt: skip
    run_id = tracking.create_run(UPDATES, name="u", tags={"icss.kind": "update", "icss.status": status})
    tracking.write_text(run_id, "order.json", order.model_dump_json())
    return run_id


def update_job_on(tracking, image: str) -> str:
    tags = {"icss.kind": UPDATE_JOB, "icss.status": "running"}
    run_id = tracking.create_run(UPDATES, name="j", tags=tags)
    tracking.write_json(run_id, "plan.json", {"images": [{"address": image, "etag": "e"}]})
    return run_id


def test_what_is_old_and_in_nobodys_use_goes_and_nothing_else(
    retention, storage, settings, tracking, tmp_path
):
    put(storage, settings, "uploads/free/image.tif", "uploads/used/image.tif", "predictions/map.tif")
    put(storage, settings, "training/done-job/checkpoint-1/state.pt", "training/failed-job/latest.txt")
    put(storage, settings, "training/stray/latest", "tune/sweep-1/a.json", "tune/sweep-1/b/c.json")
    put(storage, settings, "scenes/uploads/image.tif", "uploads-not/image.tif", "dataset.yaml")
    put(storage, settings, "uploads/clicked/image.tif")
    clicked = update_job_on(tracking, f"{settings.data_prefix}/uploads/clicked/image.tif")
    ended = update_on(tracking, f"{settings.data_prefix}/uploads/free/image.tif", "failed")
    pending = update_on(tracking, f"{settings.data_prefix}/uploads/used/image.tif", "running")
    job(tracking, "done-job", icss_status="successful", icss_version="1")
    job(tracking, "failed-job", icss_status="failed")
    for version in ("1-old", "2-new", ".partial-x"):
        (tmp_path / "models" / "m" / version).mkdir(parents=True)
        (tmp_path / "models" / "m" / version / "model.json").touch()
    os.utime(tmp_path / "models" / "m" / "2-new", (time.time() + OLD.total_seconds(),) * 2)
    try:
        before, now = kept(storage, settings), datetime.now(UTC)
        assert list(retention.find()) == [], "all was written a moment ago"
        (soon,) = retention.find(now + NEW)
        assert (soon.where, soon.why) == (f"{settings.data_prefix}/training/done-job", "its job is done")
        found = {one.where.removeprefix(f"{settings.data_prefix}/") for one in retention.find(now + OLD)}
        assert found == {
            "uploads/free", "predictions/map.tif", "tune/sweep-1", "training/done-job", "training/failed-job",
            "training/stray", str(tmp_path / "models/m/1-old"), str(tmp_path / "models/m/.partial-x"),
        }  # fmt: skip
        assert kept(storage, settings) == before, "finding deletes nothing"
        cleaned = {one.where.removeprefix(f"{settings.data_prefix}/") for one in retention.clean(now + OLD)}
        assert cleaned == found
        assert kept(storage, settings) == {
            "uploads/used/image.tif", "uploads/clicked/image.tif", "scenes/uploads/image.tif",
            "uploads-not/image.tif", "dataset.yaml",
        }  # fmt: skip
        assert [one.name for one in (tmp_path / "models" / "m").iterdir()] == ["2-new"]
        assert retention.clean(now + OLD) == []
    finally:
        for run_id in (ended, pending, clicked):
            tracking.delete_run(run_id)


def test_checkpoints_of_a_running_job_stay_until_its_heart_stops(retention, storage, settings, tracking):
    name = f"running-{settings.cache_dir.name}"
    put(storage, settings, f"training/{name}/latest")
    run_id = job(tracking, name, icss_status="running")
    later = datetime.now(UTC) + OLD
    with take(tracking, tracking.get(run_id), ttl=settings.lease_seconds):
        assert list(retention.find(later)) == []
        time.sleep(2 * settings.lease_seconds)
        assert list(retention.find(later)) == []
    take(tracking, tracking.get(run_id))  # whose process dies at once
    assert list(retention.find(later)) == [], "nobody is judged at first sight"
    time.sleep(1.2 * settings.lease_seconds)
    assert [one.where for one in retention.find(later)] == [f"{settings.data_prefix}/training/{name}"]


def test_without_mlflow_nothing_that_may_be_in_use_is_deleted(
    retention, storage, settings, tracking, monkeypatch, caplog
):
    put(storage, settings, "uploads/a/image.tif", "training/b/latest")

    def away(*_, **__):
        raise TrackingError("away")

    monkeypatch.setattr(tracking, "find", away)
    with pytest.raises(TrackingError):
        retention.clean(datetime.now(UTC) + OLD)
    assert kept(storage, settings) == {"uploads/a/image.tif", "training/b/latest"}
    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(retention, "clean", away)
        thread = RetentionThread(retention, seconds=0.01)
        deadline = time.monotonic() + 5
        while len(caplog.records) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        thread.close()
    assert len(caplog.records) >= 2, "the next turn comes all the same"


def test_without_a_limit_nothing_is_deleted(settings, storage, tracking):
    put(storage, settings, "uploads/a/image.tif")
    never = settings.model_copy(update={"retention_days": None})
    assert Retention(never, storage, tracking).clean(datetime.now(UTC) + 100 * OLD) == []
    assert environment_of(never)["ICSS_RETENTION_DAYS"] == ""


def test_the_command_says_what_it_would_delete_and_deletes_it(settings, storage, monkeypatch):
    monkeypatch.setenv("ICSS_RETENTION_DAYS", "1e-9")
    put(storage, settings, "predictions/map.tif")
    time.sleep(0.01)
    dry = CliRunner().invoke(app, ["clean", "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert f"{settings.data_prefix}/predictions/map.tif" in dry.output
    assert "1 would be deleted" in dry.output
    assert kept(storage, settings) == {"predictions/map.tif"}
    assert "1 were deleted" in CliRunner().invoke(app, ["clean"]).output
    assert kept(storage, settings) == set()
