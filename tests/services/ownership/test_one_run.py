"""One run for one identity, on a real MLflow server."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.errors import ConflictError
from services.ownership import find_or_create
from services.tracking import UPDATES, Tracking


@pytest.fixture(scope="module")
def tracking(mlflow_settings):
    return Tracking(mlflow_settings)


def test_processes_that_ask_at_once_get_one_run(tracking, mlflow_settings) -> None:
    start = threading.Barrier(6)

    def ask(number: int) -> str:
        own = Tracking(mlflow_settings)
        own.find(UPDATES, tags={"icss.key": "raced"})
        start.wait()
        return find_or_create(
            own,
            UPDATES,
            identity={"icss.key": "raced"},
            name=f"by {number}",
            fill=lambda run_id: own.set_tags(run_id, {"icss.filled": str(number)}),
        )

    with ThreadPoolExecutor(6) as pool:
        runs = set(pool.map(ask, range(6)))
    (record,) = tracking.find(UPDATES, tags={"icss.key": "raced"})
    assert runs == {record.run_id}
    assert record.name == f"by {record.tags['icss.filled']}"


def test_one_that_is_there_is_found_and_not_filled_again(tracking) -> None:
    identity = {"icss.key": "there"}
    filled = []
    first = find_or_create(
        tracking, UPDATES, identity=identity, name="x", tags={"a": "b"}, fill=filled.append
    )
    assert find_or_create(tracking, UPDATES, identity=identity, name="y", fill=filled.append) == first
    assert filled == [first]
    assert tracking.get(first).tags["a"] == "b"
    other = find_or_create(tracking, UPDATES, identity=identity, name="z", counts=lambda run: run.name != "x")
    assert other != first


def test_runs_from_before_this_scheme_are_found(tracking) -> None:
    old = tracking.create_run(UPDATES, name="old", tags={"icss.key": "old"})
    assert find_or_create(tracking, UPDATES, identity={"icss.key": "old"}, name="new") == old


def test_nobody_finds_a_run_that_is_not_filled(tracking) -> None:
    filling, may_end = threading.Event(), threading.Event()

    def fill(run_id: str) -> None:
        filling.set()
        assert may_end.wait(10)

    with ThreadPoolExecutor(2) as pool:
        identity = {"icss.key": "slow"}
        first = pool.submit(find_or_create, tracking, UPDATES, identity=identity, name="1", fill=fill)
        assert filling.wait(10)
        second = pool.submit(find_or_create, tracking, UPDATES, identity=identity, name="2")
        time.sleep(0.5)
        assert not second.done()
        may_end.set()
        assert first.result() == second.result()
    assert [record.name for record in tracking.find(UPDATES, tags=identity)] == ["1"]


def test_a_creator_that_fails_leaves_nothing(tracking) -> None:
    def fail(run_id: str) -> None:
        raise ConflictError("no")

    with pytest.raises(ConflictError):
        find_or_create(tracking, UPDATES, identity={"icss.key": "failed"}, name="x", fill=fail)
    assert tracking.find(UPDATES, tags={"icss.key": "failed"}) == []


def test_what_a_dead_creator_left_is_cleared_away(tracking) -> None:
    identity = {"icss.key": "dead"}
    left = tracking.create_run(UPDATES, name="left", tags={**identity, "icss.candidate": "yes"})
    began = time.monotonic()
    made = find_or_create(tracking, UPDATES, identity=identity, name="new", patience=0.5)
    assert time.monotonic() - began >= 0.5
    assert [record.run_id for record in tracking.find(UPDATES, tags=identity)] == [made] != [left]


def test_a_creator_taken_for_dead_agrees_with_whoever_came_after(tracking) -> None:
    identity = {"icss.key": "slower"}
    filling, may_end = threading.Event(), threading.Event()

    def fill(run_id: str) -> None:
        filling.set()
        assert may_end.wait(10)

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(find_or_create, tracking, UPDATES, identity=identity, name="slow", fill=fill)
        assert filling.wait(10)
        quick = find_or_create(tracking, UPDATES, identity=identity, name="quick", patience=0.3)
        may_end.set()
        assert slow.result() == quick
    assert [record.name for record in tracking.find(UPDATES, tags=identity)] == ["quick"]
