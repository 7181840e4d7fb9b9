"""Ownership of a run, on a real MLflow server: threads with clients of their own stand for machines."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.errors import LostOwnershipError, TrackingError
from services.ownership import LeaseWatch, acquire, check_generation, generation_of, take
from services.tracking import PRETRAINING, Tracking

TTL = 1.5


@pytest.fixture(scope="module")
def tracking(mlflow_settings):
    return Tracking(mlflow_settings)


@pytest.fixture
def run_id(tracking):
    return tracking.create_run(PRETRAINING, name="owned", tags={})


def test_of_racing_writers_exactly_one_writes_a_param(tracking, mlflow_settings, run_id) -> None:
    start = threading.Barrier(8)

    def write(writer: int) -> list[str]:
        own = Tracking(mlflow_settings)
        start.wait()
        return [own.write_once(run_id, f"key.{number}", f"w{writer}") for number in range(6)]

    with ThreadPoolExecutor(8) as pool:
        answers = {tuple(one) for one in pool.map(write, range(8))}
    (winners,) = answers  # all are told the same
    assert tracking.get(run_id).params == {f"key.{n}": winner for n, winner in enumerate(winners)}


def test_a_deleted_run_takes_no_param(tracking, run_id) -> None:
    tracking.write_once(run_id, "a", "1")
    tracking.delete_run(run_id)
    with pytest.raises(TrackingError):
        tracking.write_once(run_id, "b", "1")
    assert tracking.write_once(run_id, "a", "2") == "1", "what was written first stays true"


def test_racing_takers_own_a_run_one_after_another(tracking, mlflow_settings, run_id) -> None:
    inside, most, turns = [], [], []

    def work(number: int) -> None:
        own = Tracking(mlflow_settings)
        with acquire(own, run_id, ttl=TTL) as lease:
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.05)
            lease.check()
            inside.remove(number)
            turns.append(lease.generation)

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(work, range(5)))
    assert most == [1] * 5
    assert sorted(turns) == [1, 2, 3, 4, 5]
    assert generation_of(tracking.get(run_id)) == 5, "one param for each owner, none for a heartbeat"


def test_an_owner_that_lives_keeps_its_run_and_lets_go_at_once(tracking, run_id) -> None:
    with ThreadPoolExecutor(1) as pool, acquire(tracking, run_id, ttl=TTL) as lease:
        waiting = pool.submit(acquire, tracking, run_id, ttl=TTL)
        time.sleep(3 * TTL)
        assert not waiting.done()
        lease.check()
        assert not lease.is_lost
        lease.release()
        second = waiting.result()
        assert second.generation == 2
        patient = pool.submit(acquire, tracking, run_id, ttl=60 * TTL)
        second.release()
        assert patient.result(timeout=30 * TTL).generation == 3, "it did not wait for a heartbeat to stop"


def test_of_racing_takers_one_takes_over_from_an_owner_that_died(tracking, mlflow_settings, run_id) -> None:
    dead = take(tracking, tracking.get(run_id), ttl=TTL)  # never entered: its heart stands still
    decided = threading.Barrier(6)

    def take_over(_: int) -> int | None:
        own, watch = Tracking(mlflow_settings), LeaseWatch(TTL)
        while not watch.may_take(record := own.get(run_id)):
            time.sleep(0.02)
        decided.wait()
        lease = take(own, record, ttl=TTL)
        return None if lease is None else lease.generation

    began = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        generations = list(pool.map(take_over, range(6)))
    assert time.monotonic() - began >= TTL
    assert sorted(one for one in generations if one) == [2]
    with pytest.raises(LostOwnershipError, match="owner 2; this was owner 1"):
        dead.check()
    assert dead.is_lost
    with pytest.raises(LostOwnershipError):
        check_generation(tracking, run_id, 1)
    check_generation(tracking, run_id, 2)


class Stalled(Tracking):
    """The server as an owner sees it that hangs for a while: a paused machine, or its network."""

    def __init__(self, settings) -> None:
        super().__init__(settings)
        self.running = threading.Event()
        self.running.set()

    def get(self, run_id):
        self.running.wait()
        return super().get(run_id)


def test_an_owner_that_stalled_notices_and_leaves_the_new_owner_alone(
    tracking, mlflow_settings, run_id
) -> None:
    stalled = Stalled(mlflow_settings)
    with acquire(stalled, run_id, ttl=TTL) as old:
        stalled.running.clear()
        new = acquire(tracking, run_id, ttl=TTL)
        with new:
            assert not old.is_lost, "it has not looked yet"
            stalled.running.set()
            deadline = time.monotonic() + 10
            while not old.is_lost and time.monotonic() < deadline:
                time.sleep(0.02)
            assert old.is_lost, "its heartbeat noticed by itself"
            with pytest.raises(LostOwnershipError):
                old.check()
            old.release()
            time.sleep(TTL)
            assert not LeaseWatch(TTL).may_take(tracking.get(run_id)), "the old owner freed nothing"
            new.check()


def test_what_another_has_done_is_not_taken(tracking, run_id) -> None:
    def is_done(record) -> bool:
        return "icss.version" in record.tags

    with ThreadPoolExecutor(1) as pool, acquire(tracking, run_id, ttl=TTL, is_done=is_done):
        waiting = pool.submit(acquire, tracking, run_id, ttl=TTL, is_done=is_done)
        time.sleep(0.2)
        tracking.set_tags(run_id, {"icss.version": "1"})
        assert waiting.result() is None
    assert generation_of(tracking.get(run_id)) == 1


def test_done_between_the_look_and_the_taking_is_seen(tracking, run_id) -> None:
    looks = []

    def is_done(record) -> bool:
        if not looks:
            tracking.set_tags(run_id, {"icss.version": "1"})
        looks.append(record)
        return "icss.version" in record.tags

    assert acquire(tracking, run_id, ttl=TTL, is_done=is_done) is None
    assert LeaseWatch(TTL).may_take(tracking.get(run_id)), "and let go again"


def test_a_run_that_is_gone_is_an_error(tracking) -> None:
    with pytest.raises(TrackingError, match="no run"):
        acquire(tracking, "0" * 32)
