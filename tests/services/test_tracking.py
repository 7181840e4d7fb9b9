from __future__ import annotations

import threading
import time

import pytest

from services.errors import TrackingError, TrackingUnavailableError
from services.local.ports import free_ports
from services.metric_buffer import MetricBuffer
from services.tracking import PRETRAINING, UPDATES, Tracking


@pytest.fixture(scope="module")
def tracking(mlflow_settings):
    return Tracking(mlflow_settings)


def test_a_run_is_found_by_its_tags_after_a_restart(tracking, mlflow_settings) -> None:
    first = tracking.create_run(UPDATES, name="one", tags={"icss.status": "accepted", "icss.model": "a"})
    second = tracking.create_run(UPDATES, name="two", tags={"icss.status": "running", "icss.model": "a"})
    for name, more in {
        "three": {"icss.status": "failed"},
        "five": {"icss.status": "dismissed"},
        "six": {},
    }.items():
        tracking.create_run(UPDATES, name=name, tags={"icss.model": "a", **more})
    tracking.create_run(PRETRAINING, name="four", tags={"icss.status": "running", "icss.model": "a"})
    after_restart = Tracking(mlflow_settings)
    ended = {"icss.status": ["failed", "dismissed"]}
    found = after_restart.find(UPDATES, tags={"icss.model": "a"}, without=ended)
    assert [record.run_id for record in found] == [first, second], "oldest first; one without the tag is none"
    newest = after_restart.find(UPDATES, tags={"icss.model": "a"}, without=ended, limit=1)
    assert [record.run_id for record in newest] == [second]
    running = after_restart.find(UPDATES, tags={"icss.model": "a", "icss.status": "running"})
    assert [record.run_id for record in running] == [second]
    after_restart.set_tags(first, {"icss.status": "running", "icss.step": "3"})
    record = after_restart.get(first)
    assert record is not None
    assert (record.name, record.status, record.tags["icss.step"]) == ("one", "RUNNING", "3")
    assert record.ended is None


def test_ended_runs_say_how_they_ended(tracking) -> None:
    run_id = tracking.create_run(PRETRAINING, name="ends", tags={})
    tracking.finish(run_id, "FAILED")
    record = tracking.get(run_id)
    assert record is not None
    assert record.status == "FAILED"
    assert record.ended is not None
    tracking.reopen(run_id)
    reopened = tracking.get(run_id)
    assert reopened is not None
    assert reopened.status == "RUNNING"


def test_people_are_told_where_they_reach_the_server(tracking, mlflow_settings) -> None:
    run_id = tracking.create_run(PRETRAINING, name="told", tags={})
    assert tracking.address(run_id).startswith(f"{mlflow_settings.mlflow_uri}/#/experiments/")
    outside = mlflow_settings.model_copy(update={"mlflow_public_uri": "https://mlflow.example.org"})
    assert Tracking(outside).address(run_id).startswith("https://mlflow.example.org/#/experiments/")


def test_an_unknown_run_is_none(tracking) -> None:
    assert tracking.get("0" * 32) is None


def test_nested_parameters_become_params_and_one_artefact(tracking) -> None:
    run_id = tracking.create_run(UPDATES, name="params", tags={})
    parameters = {"optimisation": {"lr": 0.001, "schedule": "poly"}, "clicks": list(range(400))}
    tracking.log_parameters(run_id, parameters)
    record = tracking.get(run_id)
    assert record is not None
    assert record.params == {"optimisation.lr": "0.001", "optimisation.schedule": "poly"}
    assert tracking.read_json(run_id, "parameters.json") == parameters


def test_artefacts_come_back_from_subfolders(tracking, tmp_path) -> None:
    run_id = tracking.create_run(UPDATES, name="files", tags={})
    tracking.write_bytes(run_id, "pictures/after.png", b"\x89PNG")
    tracking.write_text(run_id, "note.txt", "größer")
    local = tmp_path / "clicks.geojson"
    local.write_text("{}")
    tracking.write_file(run_id, local, "request")
    assert tracking.read_bytes(run_id, "pictures/after.png") == b"\x89PNG"
    assert tracking.read_bytes(run_id, "note.txt").decode() == "größer"
    assert tracking.read_json(run_id, "request/clicks.geojson") == {}
    with pytest.raises(TrackingError, match=r"absent\.txt") as refused:
        tracking.read_bytes(run_id, "absent.txt")
    assert not isinstance(refused.value, TrackingUnavailableError), "it will not be there in a moment either"


def test_metrics_are_sent_together_and_keep_their_steps(tracking) -> None:
    run_id = tracking.create_run(UPDATES, name="metrics", tags={})
    with MetricBuffer(tracking, run_id, seconds=3600) as buffer:
        for step in range(1, 1201):
            buffer.log(step, {"loss": 1 / step})
        assert tracking.metric_history(run_id, "loss") == [], "nothing is sent before it is time"
    history = tracking.metric_history(run_id, "loss")
    assert [step for step, _ in history] == list(range(1, 1201))
    assert history[-1][1] == pytest.approx(1 / 1200)


class Unreachable:
    """Stands where a server is away for a moment: that cannot be had from a real one on purpose."""

    def __init__(self, failures: int) -> None:
        self.failures, self.received = failures, []

    def log_metrics(self, _run_id, points) -> None:
        if self.failures:
            self.failures -= 1
            raise TrackingError("away")
        self.received += points


def test_metrics_survive_a_server_that_is_away_for_a_moment() -> None:
    away = Unreachable(failures=2)
    with MetricBuffer(away, "run", seconds=0.01) as buffer:
        for step in range(4):
            buffer.log(step, {"loss": 0.5})
            time.sleep(0.02)
    assert [step for step, _, _ in away.received] == [0, 1, 2, 3]


def test_logging_does_not_wait_for_a_server_that_hangs() -> None:
    sending, answered = threading.Event(), threading.Event()

    class Hanging(Unreachable):
        def log_metrics(self, _run_id, points) -> None:
            sending.set()
            assert answered.wait(10)
            self.received += points

    hanging = Hanging(failures=0)
    with MetricBuffer(hanging, "run", seconds=0.01) as buffer:
        buffer.log(1, {"loss": 0.5})
        assert sending.wait(10)
        buffer.log(2, {"loss": 0.4})  # would deadlock where it waited
        answered.set()
    assert [step for step, _, _ in hanging.received] == [1, 2]


def test_metrics_that_cannot_be_sent_at_the_end_are_an_error() -> None:
    with pytest.raises(TrackingError), MetricBuffer(Unreachable(failures=9), "run") as buffer:
        buffer.log(1, {"loss": 0.5})


def test_a_dead_server_is_a_tracking_error(mlflow_settings, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (port,) = free_ports(1)
    dead = Tracking(mlflow_settings.model_copy(update={"mlflow_uri": f"http://127.0.0.1:{port}"}))
    with pytest.raises(TrackingUnavailableError, match="could not create the run"):
        dead.create_run(UPDATES, name="x", tags={})
