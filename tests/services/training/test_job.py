"""A training job in the job's own process, with a real store and a real MLflow server."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from toy_training import CLASSES

from icss_core.errors import DatasetError
from icss_core.training import Optimisation
from services.data.dataset import read_dataset
from services.errors import LostOwnershipError, TrackingError, TrainingError, may_pass
from services.ingest.writer import DatasetWriter
from services.ownership import find_or_create, generation_of, take
from services.registry import MEMORY, Registry
from services.storage import Storage
from services.tracking import PRETRAINING, Tracking
from services.training import TrainingConfig, finished_training
from services.training.callback import MlflowCallback
from services.training.finished_training import TRAINING_FOLDER
from services.training.guard import TrainingGuard
from services.training.job import pretrain


@pytest.fixture
def settings(mlflow_environment):
    return mlflow_environment


@pytest.fixture(scope="module")
def address(mlflow_settings):
    rng = np.random.default_rng(0)
    base = f"{mlflow_settings.data_prefix}/jobs"
    writer = DatasetWriter(Storage(mlflow_settings), base, name="toy", classes=CLASSES)
    for name, split in (("one", "train"), ("two", "val")):
        mask = rng.integers(0, 2, (40, 40), dtype=np.uint8)
        writer.add_array(name, rng.integers(0, 99, (3, 40, 40), dtype=np.uint8), mask, split=split)
    return f"{writer.finish().base}/dataset.yaml"


def asked(address: str, model: str, **changes) -> TrainingConfig:
    fields = {"encoder": "tu-test_resnet", "crop": 32, "batch": 2, "workers": 0, "checkpoint_every": 1}
    optimisation = Optimisation(iterations=2, lr=0.01, precision="float32")
    return TrainingConfig(dataset=address, model=model, optimisation=optimisation, **{**fields, **changes})


def record_of(settings, model: str):
    (record,) = Tracking(settings).find(PRETRAINING, tags={"icss.model": model})
    return record


def test_of_two_processes_that_need_one_network_one_trains_it(settings, address, monkeypatch):
    calls = []
    original = finished_training.train_in_process

    def counted(*arguments, **named):
        calls.append(arguments)
        original(*arguments, **named)

    monkeypatch.setattr(finished_training, "train_in_process", counted)
    with ThreadPoolExecutor(2) as pool:
        versions = [pool.submit(pretrain, asked(address, "job-twice"), settings) for _ in range(2)]
        assert [one.result() for one in versions] == [1, 1]
    assert len(calls) == 1
    record = record_of(settings, "job-twice")
    assert (record.status, record.tags["icss.status"], record.tags["icss.version"]) == (
        "FINISHED", "successful", "1"
    )  # fmt: skip
    assert Registry(settings).resolve("job-twice", MEMORY).version == 1
    assert list(Storage(settings).list(f"{settings.data_prefix}/{TRAINING_FOLDER}/{record.name}")) == []


def test_a_job_whose_process_died_is_taken_over(settings, address):
    settings = settings.model_copy(update={"lease_seconds": 3.0})
    config, tracking = asked(address, "job-dead"), Tracking(settings)
    name = config.job_name(read_dataset(address, Storage(settings)).manifest_hash)
    tags = {"icss.model": "job-dead"}
    run_id = find_or_create(tracking, PRETRAINING, identity={"icss.job": name}, name=name, tags=tags)
    dead = take(tracking, tracking.get(run_id), ttl=settings.lease_seconds)
    assert pretrain(config, settings) == 1
    assert generation_of(record_of(settings, "job-dead")) == 2
    with pytest.raises(LostOwnershipError):
        dead.check()


def test_who_lost_a_job_while_training_registers_nothing_and_says_nothing(settings, address, monkeypatch):
    tracking = Tracking(settings)
    original = finished_training.train_in_process

    def overtaken(plan, run_id, checkpoints, **named):
        original(plan, run_id, checkpoints, **named)
        tracking.write_once(run_id, "lease.2", "another process")
        tracking.set_tags(run_id, {"icss.status": "theirs"})

    monkeypatch.setattr(finished_training, "train_in_process", overtaken)
    with pytest.raises(LostOwnershipError, match="owner 2; this was owner 1"):
        pretrain(asked(address, "job-lost"), settings)
    record = record_of(settings, "job-lost")
    assert (record.status, record.tags["icss.status"]) == ("RUNNING", "theirs")
    assert "job-lost" not in Registry(settings).names()


def test_who_lost_a_job_trains_no_further_than_the_next_report(settings, address, monkeypatch):
    tracking = Tracking(settings)
    original = MlflowCallback.after_report
    reported = []

    def overtaken(callback, context, metrics, checkpoint):
        original(callback, context, metrics, checkpoint)
        (run_id,) = {record.run_id for record in tracking.find(PRETRAINING, tags={"icss.model": "job-late"})}
        tracking.write_once(run_id, "lease.2", "another process")
        reported.append(metrics[0]["iteration"])

    monkeypatch.setattr(MlflowCallback, "after_report", overtaken)
    with pytest.raises(LostOwnershipError, match="owner 2; this was owner 1"):
        pretrain(asked(address, "job-late"), settings)
    assert len(reported) == 1, "it did not go on"


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()], ids=type)
def test_a_job_that_ended_goes_on_with_other_neutral_settings(settings, address, monkeypatch, error):
    model = f"job-{type(error).__name__}"

    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(finished_training, "train_in_process", fail)
        with pytest.raises(type(error)):
            pretrain(asked(address, model), settings)
    record = record_of(settings, model)
    if isinstance(error, KeyboardInterrupt):
        assert (record.status, record.tags["icss.status"]) == ("KILLED", "interrupted")
    else:
        assert (record.status, record.tags["icss.status"]) == ("FAILED", "failed")
        assert record.tags["icss.error"] == "RuntimeError: out of memory"
    assert pretrain(asked(address, model, cpus_per_worker=2, gpu=False, max_failures=1), settings) == 1
    after = record_of(settings, model)
    assert (after.run_id, after.tags["icss.status"], after.tags["icss.error"]) == (
        record.run_id, "successful", ""
    )  # fmt: skip
    assert json.loads(after.tags["icss.spread"])["cpus_per_worker"] == 2
    assert after.params.keys() - record.params.keys() == {"lease.2"}
    assert not {"workers", "cpus_per_worker", "gpu"} & after.params.keys()


class RayWrapsError(Exception):
    """As Ray hands on what a worker raised: with the traceback's text."""


def test_workers_that_would_fail_again_end_the_training(settings):
    guard = TrainingGuard("run", 1)
    guard.after_exception(None, {0: RayWrapsError(RuntimeError("CUDA out of memory"), "Traceback ...")})
    guard.after_exception(None, {0: RayWrapsError(TrackingError("away"), "Traceback ...")})
    lost = {1: RayWrapsError(DatasetError("no scene"), "..."), 0: RayWrapsError(RuntimeError("peer"), "...")}
    with pytest.raises(DatasetError, match="no scene"):
        guard.after_exception(None, lost)


def test_workers_of_a_job_that_was_taken_over_are_stopped(settings, monkeypatch):
    tracking = Tracking(settings)
    run_id = tracking.create_run(PRETRAINING, name="guarded", tags={})
    take(tracking, tracking.get(run_id))
    guard = TrainingGuard(run_id, 1)
    guard.after_report(None, [], None)
    with monkeypatch.context() as patch:
        patch.setattr(Tracking, "get", lambda *_: (_ for _ in ()).throw(TrackingError("away")))
        guard.after_report(None, [], None)
    take(tracking, tracking.get(run_id))
    with pytest.raises(LostOwnershipError):
        guard.after_report(None, [], None)


def test_only_what_depends_on_others_may_pass():
    assert may_pass(TrainingError("x"))
    assert may_pass(LostOwnershipError("x"))
    assert may_pass(MemoryError())
    assert not may_pass(DatasetError("x"))
