"""The update queue over real records: order, cancelling, failing, and what a crash leaves behind."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from icss_core.errors import CancelledError, ClickError
from icss_core.labels import ClassInfo
from services.errors import BusyError, ConflictError, UpdateNotFoundError
from services.serving.orders import UpdateOrder
from services.serving.update_queue import MAX_ATTEMPTS, UpdateQueue
from services.serving.update_records import UpdateRecords, UpdateResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.serving.update_control import Control
    from services.tracking import Tracking

SECONDS = 20


def order(name: str = "building", *, seed: int = 0) -> UpdateOrder:
    return UpdateOrder(
        model="town",
        base_version=1,
        image="s3://icss/data/scene.tif",
        new_class=ClassInfo(name=name, colour=(1, 2, 3)),
        clicks={"type": "FeatureCollection", "features": []},
        crs=None,
        click_counts={name: 3},
        preset="icss",
        overrides={},
        parameters={"method": "icss", "optimisation": {"lr": 0.1}},
        seed=seed,
    )


class Bench:
    """Work that waits until it is let go, and says what it saw."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.started = threading.Semaphore(0)
        self.release = threading.Event()
        self.outcome: Callable[[Control], int] = lambda control: (control.commit(), 7)[1]

    def __call__(self, update_id: str, order: UpdateOrder, control: Control) -> int:
        self.begun.append(order.new_class.name)
        self.started.release()
        while not self.release.wait(0.01):
            if control.should_stop():
                raise CancelledError("stopped")
        return self.outcome(control)

    def wait_until_started(self) -> None:
        assert self.started.acquire(timeout=SECONDS)


class QueueMaker:
    """Queues over the same records, as processes that follow each other have them."""

    def __init__(self, records: UpdateRecords) -> None:
        self.records = records
        self.queues: list[UpdateQueue] = []
        self.ended: list[str] = []

    def __call__(self, work: Bench, *, max_waiting: int = 9) -> UpdateQueue:
        queue = UpdateQueue(
            self.records, work, max_waiting=max_waiting, on_end=lambda status, _: self.ended.append(status)
        )
        queue.start()
        self.queues.append(queue)
        return queue

    def end(self, update_id: str) -> str:
        queue = self.queues[-1]
        with queue._changed:
            assert queue._changed.wait_for(lambda: update_id not in queue._queued, timeout=SECONDS)
        return self.state(update_id)

    def state(self, update_id: str) -> str:
        found = self.records.statuses(model=None, limit=1000)
        return next(status.status for status in found if status.id == update_id)


@pytest.fixture
def make(tracking: Tracking) -> Iterator[QueueMaker]:
    maker = QueueMaker(UpdateRecords(tracking))
    yield maker
    for queue in maker.queues:
        queue.close()
    for update_id in maker.records.pending():
        maker.records.dismiss(update_id)


def test_record_is_complete_before_submit_returns(make: QueueMaker) -> None:
    work = Bench()
    update_id = make(work).submit(order(), key=None)
    status = make.records.status(update_id)
    assert status.model == "town"
    assert status.clicks == {"building": 3}
    assert status.new_class.colour == (1, 2, 3)
    assert make.records.order(update_id) == order()


def test_updates_run_in_the_order_they_came(make: QueueMaker) -> None:
    work = Bench()
    queue = make(work)
    ids = [queue.submit(order(name), key=None) for name in ("one", "two", "three")]
    work.wait_until_started()
    second = queue.progress(ids[1])
    assert second is not None
    assert (second.running, second.ahead) == (False, 1)
    work.release.set()
    make.records.write_result(ids[2], UpdateResult(forgetting={"a": 1}, warnings=["w"], seconds=1))
    assert make.end(ids[2]) == "successful"
    assert work.begun == ["one", "two", "three"]
    final = make.records.status(ids[2])
    assert (final.result_version, final.progress, final.warnings) == (7, 100, ["w"])
    assert final.forgetting == {"a": 1}
    assert queue.progress(ids[2]) is None
    assert make.ended == ["successful"] * 3


def test_same_key_starts_one_update(make: QueueMaker) -> None:
    work = Bench()
    queue = make(work)
    first = queue.submit(order(), key="mine")
    assert queue.submit(order(), key="mine") == first
    work.release.set()
    make.end(first)
    assert queue.submit(order(), key="mine") == first, "the key holds after the end too"
    with pytest.raises(ConflictError, match="another one"):
        queue.submit(order(seed=5), key="mine")


def test_equal_order_without_key_is_one_until_it_has_ended(make: QueueMaker) -> None:
    work = Bench()
    queue = make(work)
    first = queue.submit(order(seed=11), key=None)
    assert queue.submit(order(seed=11), key=None) == first
    work.release.set()
    make.end(first)
    second = queue.submit(order(seed=11), key=None)
    assert second != first
    make.end(second)


def test_many_threads_with_one_key_start_one_update(make: QueueMaker) -> None:
    queue = make(Bench())
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(queue.submit(order(), key="crowd"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len(found) == 8
    assert len(set(found)) == 1


def test_waiting_update_is_cancelled_at_once_and_never_begins(make: QueueMaker) -> None:
    work = Bench()
    queue = make(work)
    queue.submit(order("one"), key=None)
    waiting = queue.submit(order("two"), key=None)
    work.wait_until_started()
    queue.cancel(waiting, wait_seconds=0)
    work.release.set()
    assert make.end(waiting) == "dismissed"
    assert work.begun == ["one"]


def test_running_update_stops_when_cancelled(make: QueueMaker) -> None:
    work = Bench()
    queue = make(work)
    update_id = queue.submit(order(), key=None)
    work.wait_until_started()
    queue.cancel(update_id)
    assert make.records.status(update_id).status == "dismissed"
    queue.cancel(update_id)  # again: no error


def test_update_past_commit_cannot_be_cancelled(make: QueueMaker) -> None:
    work = Bench()
    committed, go_on = threading.Event(), threading.Event()

    def outcome(control: Control) -> int:
        control.commit()
        committed.set()
        assert go_on.wait(SECONDS)
        return 8

    work.outcome = outcome
    work.release.set()
    queue = make(work)
    update_id = queue.submit(order(), key=None)
    assert committed.wait(SECONDS)
    with pytest.raises(ConflictError, match="can no longer be cancelled"):
        queue.cancel(update_id)
    go_on.set()
    with queue._changed:
        assert queue._changed.wait_for(lambda: not queue._queued, timeout=SECONDS)
    assert make.ended == ["successful"]


def test_own_errors_are_told_and_others_are_not(make: QueueMaker) -> None:
    work = Bench()
    work.release.set()
    queue = make(work)

    def clicks(_: Control) -> int:
        raise ClickError("click 3 is off the raster")

    def surprise(_: Control) -> int:
        raise RuntimeError("the secret inside")

    work.outcome = clicks
    ours = queue.submit(order("ours"), key=None)
    assert make.end(ours) == "failed"
    error = make.records.status(ours).error
    assert error is not None
    assert (error.type, error.message) == ("ClickError", "click 3 is off the raster")

    work.outcome = surprise
    other = queue.submit(order("other"), key=None)
    assert make.end(other) == "failed"
    error = make.records.status(other).error
    assert error is not None
    assert error.type == "InternalError"
    assert "secret" not in error.message
    assert queue.is_alive, "the queue outlives its updates' errors"


def test_full_queue_refuses(make: QueueMaker) -> None:
    work = Bench()
    queue = make(work, max_waiting=1)
    queue.submit(order("one"), key=None)
    work.wait_until_started()
    queue.submit(order("two"), key=None)
    with pytest.raises(BusyError, match="1 updates are waiting"):
        queue.submit(order("three"), key=None)


def test_next_process_takes_up_what_was_unfinished(make: QueueMaker) -> None:
    crashed = Bench()
    queue = make(crashed)
    running, waiting, unwanted = (queue.submit(order(name), key=None) for name in ("r", "w", "u"))
    crashed.wait_until_started()
    make.records.request_cancel(unwanted)  # the wish was written down, then the process died
    queue.close()  # as a crash: nothing more is written
    assert make.records.status(running).status == "running"
    assert make.records.status(waiting).status == "accepted"

    work = Bench()
    work.release.set()
    make(work)
    assert make.end(waiting) == "successful"
    assert make.records.status(unwanted).status == "dismissed"
    assert work.begun == ["r", "w"]


def test_process_that_was_replaced_registers_nothing(make: QueueMaker) -> None:
    old = Bench()
    first = make(old)
    update_id = first.submit(order(), key=None)
    old.wait_until_started()
    new = Bench()
    second = make(new)  # takes over while the first still runs
    new.wait_until_started()
    old.release.set()
    with first._changed:
        assert first._changed.wait_for(lambda: not first._queued, timeout=SECONDS)
    assert make.records.status(update_id).status == "running", "the record belongs to the second"
    new.release.set()
    assert make.end(update_id) == "successful"
    assert make.ended == ["successful"]
    assert second.is_alive


def test_update_that_kills_its_process_is_given_up(make: QueueMaker) -> None:
    for attempt in range(MAX_ATTEMPTS):
        work = Bench()
        queue = make(work)
        if attempt == 0:
            update_id = queue.submit(order(), key=None)
        work.wait_until_started()
        queue.close()  # as a crash: nothing more is written
    survivor = Bench()
    make(survivor)
    assert make.end(update_id) == "failed"
    assert survivor.begun == []
    error = make.records.status(update_id).error
    assert error is not None
    assert "died 3 times" in error.message


def test_run_of_another_kind_is_no_update(make: QueueMaker, tracking: Tracking) -> None:
    run = tracking.create_run("icss-updates", name="half-written", tags={"icss.kind": "update"})
    with pytest.raises(UpdateNotFoundError):
        make.records.status(run)
    with pytest.raises(UpdateNotFoundError):
        make.records.status("0" * 32)
    assert all(status.id != run for status in make.records.statuses(model=None, limit=1000))
