"""Reading ahead: order, errors, clean ends."""

import threading
from contextlib import contextmanager

import pytest

from icss_core.compute.prefetch import prefetched


def test_items_come_in_order_from_one_other_thread():
    threads = set()

    def make(step):
        threads.add(threading.get_ident())
        return step * step

    assert list(prefetched(make, range(20), depth=3)) == [step * step for step in range(20)]
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_error_is_raised_at_its_item():
    def make(step):
        if step == 3:
            raise ValueError("broken tile")
        return step

    source = prefetched(make, range(10))
    assert [next(source) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="broken tile"):
        next(source)


def test_closing_stops_the_thread_and_makes_no_more():
    made = []
    before = threading.active_count()
    source = prefetched(made.append, range(1000), depth=2)
    next(source)
    source.close()
    assert threading.active_count() == before
    assert len(made) <= 5


def test_context_is_entered_around_each_call():
    active = []

    @contextmanager
    def context():
        active.append(1)
        yield
        active.pop()

    assert list(prefetched(lambda _: len(active), range(3), context=context)) == [1, 1, 1]
