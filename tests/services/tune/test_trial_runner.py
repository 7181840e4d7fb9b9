"""A trial as a worker does it, with a real store and a real MLflow server; its sessions are made up."""

from __future__ import annotations

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from icss_core.errors import DatasetError
from icss_core.evaluation import ImageScore, SessionScores
from services.errors import LostOwnershipError, TrackingError
from services.ownership import Lease, generation_of, take
from services.tracking import Tracking
from services.tune import trial_runner
from services.tune.interactive.trial import InteractiveTrial
from services.tune.kinds import SWEEP_KINDS
from services.tune.maps import maps_picture
from services.tune.records import SweepRecords
from services.tune.trial_order import ORDER_KEY, TrialOrder
from services.tune.trial_runner import run_trial

SCORE = ImageScore(iou={"background": 1.0}, mean=0.5)
RESULT = SessionScores(
    image="one", seed=0, clicks={}, pseudo_labels={}, last=SCORE, rounds={}, best_of_last_half=None,
    agreement=None, warnings=(), iterations=1, seconds=1.0,
)  # fmt: skip


@pytest.fixture
def settings(mlflow_environment):
    return mlflow_environment


@pytest.fixture
def reports(monkeypatch):
    told = []
    monkeypatch.setattr(trial_runner.tune, "report", told.append)
    return told


@pytest.fixture
def records(settings):
    return SweepRecords(Tracking(settings), revision="abc", ttl=1.5)


@pytest.fixture
def make(records):
    """A trial of its own for each seed, as Tune hands it to a worker."""

    def config(seed: int, sweep: str = "some sweep") -> dict[str, dict[str, str]]:
        trial = InteractiveTrial(
            case="t", variant="v", dataset="s3://icss/d.yaml", manifest_hash="0", old=("a",), new="b",
            memory=("m", 1), seed=seed,
        )  # fmt: skip
        order = TrialOrder(
            kind="interactive", trial=trial.model_dump_json(), trial_id=trial.trial_id, title=trial.title,
            run_id=records.run_of(trial, parent="p"), sweep=sweep,
        )  # fmt: skip
        return {ORDER_KEY: order.model_dump()}

    return config


def run_of(config) -> str:
    return TrialOrder.of(config).run_id


def doing(monkeypatch, work) -> None:
    kind = dataclasses.replace(SWEEP_KINDS["interactive"], run=work)
    monkeypatch.setitem(trial_runner.SWEEP_KINDS, "interactive", kind)


def test_of_two_sweeps_with_one_trial_one_does_it_and_both_have_it(records, make, reports, monkeypatch):
    done = []

    def work(trial, work, records, /, *, settings, on_result) -> None:
        done.append(trial)
        time.sleep(0.3)
        records.write(work, [RESULT])
        on_result(1, {"mean_iou": 0.5})

    doing(monkeypatch, work)
    config = make(1)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run_trial, [config, make(1, sweep="another")]))
    assert len(done) == 1
    assert [(one["units_done"], one["mean_iou"]) for one in reports] == [(1, 0.5)] * 2
    assert records.status(run_of(config)) == "successful"


def test_who_loses_a_trial_leaves_the_winners_result_alone(records, make, reports, monkeypatch):
    """The first worker stands still, the second takes over and finishes, then the first goes on."""
    monkeypatch.setenv("ICSS_LEASE_SECONDS", "1.5")
    turns, finished, lost = [], threading.Event(), []
    beat = Lease.beat

    def faint(self: Lease) -> None:
        if self.generation == 1 and threading.current_thread().name.startswith("lease"):
            raise TrackingError("away")
        beat(self)

    def work(trial, work, records, /, *, settings, on_result) -> None:
        turns.append(work.lease.generation)
        if work.lease.generation == 1:
            assert finished.wait(20)
            try:
                records.write(work, [])
            except LostOwnershipError as error:
                lost.append(error)
                raise
        records.write(work, [RESULT])

    monkeypatch.setattr(Lease, "beat", faint)
    doing(monkeypatch, work)
    config = make(2)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run_trial, config)
        while not turns:
            time.sleep(0.02)
        pool.submit(run_trial, config).result()
        finished.set()
        first.result()
    run_id = run_of(config)
    assert turns == [1, 2]
    assert len(lost) == 1
    record = records.tracking.get(run_id)
    assert (record.status, record.tags["icss.status"]) == ("FINISHED", "successful")
    assert records.read(run_id, SessionScores) == [RESULT]
    assert reports == [{"units_done": 1, "iou/background": 1.0, "mean_iou": 0.5, "seconds": 1.0}]


def test_a_trial_left_as_running_by_a_dead_process_is_done(records, make, reports, monkeypatch):
    monkeypatch.setenv("ICSS_LEASE_SECONDS", "1.5")
    doing(monkeypatch, lambda trial, work, records, /, **_: records.write(work, [RESULT]))
    config = make(3)
    run_id = run_of(config)
    take(records.tracking, records.tracking.get(run_id))
    records.tracking.set_tags(run_id, {"icss.status": "running"})
    run_trial(config)
    assert records.status(run_id) == "successful"
    assert generation_of(records.tracking.get(run_id)) == 2


def failing(error: BaseException):
    def work(trial, work, records, /, *, settings, on_result) -> None:
        raise error

    return work


def test_an_error_that_would_come_again_is_not_tried_again(records, make, reports, monkeypatch):
    doing(monkeypatch, failing(DatasetError("no scene")))
    config = make(4)
    run_trial(config)  # Tune would start again what raises
    record = records.tracking.get(run_of(config))
    assert (record.status, record.tags["icss.status"]) == ("FAILED", "failed")
    assert record.tags["icss.error"] == "DatasetError: no scene"
    assert reports == []
    records.settle(run_of(config), "some sweep", "ended")
    assert records.status(run_of(config)) == "failed"


@pytest.mark.parametrize(("seed", "error"), [(5, TrackingError("away")), (50, RuntimeError("out of memory"))])
def test_an_error_that_may_pass_is_tried_again(records, make, reports, monkeypatch, seed, error):
    doing(monkeypatch, failing(error))
    config = make(seed)
    with pytest.raises(type(error)):
        run_trial(config)
    doing(monkeypatch, lambda trial, work, records, /, **_: records.write(work, [RESULT]))
    run_trial(config)
    record = records.tracking.get(run_of(config))
    assert (record.tags["icss.status"], record.tags["icss.error"]) == ("successful", "")
    assert "pictures" not in record.params


def test_a_trial_that_a_scheduler_stops_is_stopped_for_that_sweep_alone(records, make, reports, monkeypatch):
    doing(monkeypatch, failing(SystemExit()))  # as Tune ends a thread
    config = make(6)
    run_id = run_of(config)
    with pytest.raises(SystemExit):
        run_trial(config)
    records.settle(run_id, "some sweep", "interrupted")
    assert records.status(run_id) == "running", "nobody knows"
    records.settle(run_id, "some sweep", "ended")
    assert (records.status(run_id), records.done(run_id, "some sweep")) == ("stopped", True)
    assert not records.done(run_id, "another")


def test_a_trial_whose_process_died_has_failed(records, make):
    run_id = run_of(make(7))
    take(records.tracking, records.tracking.get(run_id))
    records.tracking.set_tags(run_id, {"icss.status": "running"})
    records.settle(run_id, "some sweep", "failed")
    record = records.tracking.get(run_id)
    assert (record.status, record.tags["icss.error"]) == ("FAILED", "its process died, twice")


def test_a_server_that_is_away_is_not_taken_for_a_missing_map(settings, storage, monkeypatch):
    class Away(Tracking):
        def read_bytes(self, run_id: str, path: str) -> bytes:
            raise TrackingError("away")

    away = Away(settings)
    run_id = away.create_run("icss-sweeps", name="maps", tags={})
    assert away.files(run_id, "maps") == []
    away.write_bytes(run_id, "maps/s.png", b"x")
    assert away.files(run_id, "maps") == ["maps/s.png"]

    class Scenes:
        @staticmethod
        def scenes_of(split: str):
            return [type("Scene", (), {"name": "s", "mask": "m", "image": "i"})]

    with pytest.raises(TrackingError, match="away"):
        maps_picture(away, {"v": run_id}, Scenes(), ["a"], limit=1, storage=storage)
