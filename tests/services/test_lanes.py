"""Turns: one at a time in each lane, in order, without starving, without waiting for those who left."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from icss_core.errors import CancelledError
from services.errors import BusyError
from services.serving.lanes import Lanes

SMALL, LARGE = 1, 100


def never() -> bool:
    return False


def lanes(max_waiting: int = 10) -> Lanes:
    return Lanes(max_waiting=max_waiting, small=10)


def wait_for(among: Lanes, inside: int) -> None:
    deadline = time.monotonic() + 5
    while len(among) != inside:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("cost", [SMALL, LARGE])
def test_one_at_a_time_in_the_order_they_came(cost: int) -> None:
    among, order, at_once, most = lanes(), [], threading.Semaphore(1), []

    def work(number: int) -> None:
        with among.turn(cost, never):
            most.append(at_once.acquire(blocking=False))
            order.append(number)
            at_once.release()

    with ThreadPoolExecutor(6) as threads, among.turn(cost, never):
        for number in range(6):
            threads.submit(work, number)
            wait_for(among, number + 2)
    assert order == list(range(6))
    assert all(most)


def test_neither_lane_waits_for_the_other() -> None:
    among = lanes()
    with among.turn(LARGE, never), among.turn(SMALL, never):
        assert len(among) == 2
    assert len(among) == 0


def test_too_many_are_refused_and_places_are_given_back() -> None:
    among = lanes(max_waiting=1)
    assert among.places == 4
    with ThreadPoolExecutor(1) as threads, among.turn(LARGE, never):
        waiting = threads.submit(lambda: among.turn(LARGE, never).__enter__())
        wait_for(among, 2)
        with pytest.raises(BusyError, match="1 large predictions are waiting"), among.turn(LARGE, never):
            pass
        with among.turn(SMALL, never):
            pass
    waiting.result()
    with pytest.raises(ZeroDivisionError), lanes().turn(LARGE, never):
        _ = 1 / 0


def test_one_who_waits_may_leave() -> None:
    among, gone = lanes(), threading.Event()

    def work() -> None:
        with among.turn(SMALL, gone.is_set):
            raise AssertionError("its turn came")

    with ThreadPoolExecutor(1) as threads, among.turn(SMALL, never):
        waiting = threads.submit(work)
        wait_for(among, 2)
        gone.set()
        with pytest.raises(CancelledError):
            waiting.result(5)
        assert len(among) == 1
