"""The update queue over real records: order, repeated requests, cancelling, failing."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from queue_bench import LEASE_SECONDS, SECONDS, Bench, QueueMaker, order

from icss_core.errors import ClickError
from icss_core.metrics.forgetting import ForgettingReport
from services.errors import BusyError, ConflictError, UpdateNotFoundError
from services.serving.update_files import RecordedResult
from services.serving.update_queue import QueueLoad

if TYPE_CHECKING:
    from services.serving.update_control import Control
    from services.serving.update_records import PendingUpdate
    from services.tracking import Tracking

NOTHING_CHANGED = ForgettingReport(
    sampled=False,
    pixels=4,
    unclicked_pixels=4,
    agreement=1.0,
    agreement_of_interest=1.0,
    taken_by_new=0.0,
    taken_by_old=0.0,
    changed_share_of_image=0.0,
    clicked_accuracy=None,
    classes={},
    warnings=(),
)


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
    make.records.write_result(ids[2], RecordedResult(forgetting=NOTHING_CHANGED, warnings=["w"], seconds=1))
    work.release.set()
    assert make.end(ids[2]) == "successful"
    assert work.begun == ["one", "two", "three"]
    final = make.records.status(ids[2])
    assert (final.result_version, final.progress, final.warnings) == (7, 100, ["w"])
    assert final.forgetting == NOTHING_CHANGED
    make.wait_for(lambda: queue.progress(ids[2]) is None, ids[2])
    assert make.ended == ["successful"] * 3


def test_queue_says_how_much_there_is_to_do(make: QueueMaker) -> None:
    work = Bench()
    queue = make(work)
    assert queue.load() == QueueLoad(waiting=0, running=0, oldest_waiting_seconds=0.0, running_seconds=0.0)
    ids = [queue.submit(order(name), key=None) for name in ("one", "two", "three")]
    work.wait_until_started()
    time.sleep(0.05)
    load = queue.load()
    assert (load.waiting, load.running) == (2, 1)
    assert 0.05 <= load.oldest_waiting_seconds < SECONDS
    assert 0.05 <= load.running_seconds < SECONDS
    queue.close()

    time.sleep(LEASE_SECONDS)
    again = make(Bench()).load()
    assert again.oldest_waiting_seconds > LEASE_SECONDS + 0.05, "it has waited since it was accepted"
    work.release.set()
    assert len(ids) == again.waiting + again.running


def test_same_key_starts_one_update(make: QueueMaker) -> None:
    work = Bench()
    queue = make(work)
    first = queue.submit(order(), key="mine")
    assert queue.submit(order(), key="mine") == first
    work.release.set()
    make.end(first)
    assert queue.submit(order(), key="mine") == first, "the key holds after the end too"
    with pytest.raises(ConflictError, match="another request"):
        queue.submit(order(seed=5), key="mine")


def test_same_request_is_the_same_whatever_it_would_mean_by_now(make: QueueMaker) -> None:
    work = Bench()
    queue = make(work)
    first = queue.submit(order(), key="before")
    assert queue.submit(order(base_version=2), key="before") == first, "memory has moved meanwhile"
    assert queue.submit(order(base_version=2), key=None) == first
    assert make.records.order(first).base_version == 1


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


def test_waiting_update_is_dismissed_at_once_and_frees_its_place(make: QueueMaker) -> None:
    work = Bench()
    queue = make(work, max_waiting=1)
    queue.submit(order("one"), key=None)
    work.wait_until_started()
    waiting = queue.submit(order("two"), key=None)
    with pytest.raises(BusyError, match="1 updates are waiting"):
        queue.submit(order("three"), key=None)
    queue.cancel(waiting)
    assert make.state(waiting) == "dismissed", "although another one runs"
    make.wait_for(lambda: queue.progress(waiting) is None, waiting)
    third = queue.submit(order("three"), key=None)
    work.release.set()
    assert make.end(third) == "successful"
    assert work.begun == ["one", "three"]
    make.wait_for(lambda: queue.progress(third) is None, third)  # it is told a moment after it is recorded
    assert make.ended == ["dismissed", "successful", "successful"]


def test_update_dismissed_while_the_records_are_listed_stays_out(
    make: QueueMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Bench()
    queue = make(work, reconcile_seconds=SECONDS)  # the test compares with the records itself
    queue.submit(order("one"), key=None)
    work.wait_until_started()
    waiting = queue.submit(order("two"), key=None)
    listing = make.records.pending

    def dismissed_meanwhile() -> list[PendingUpdate]:
        listed = listing()
        queue.cancel(waiting)
        return listed

    with monkeypatch.context() as patched:
        patched.setattr(make.records, "pending", dismissed_meanwhile)
        queue._reconcile()
    assert queue.progress(waiting) is None
    queue._reconcile()
    assert queue.progress(waiting) is None
    work.release.set()


def test_running_update_stops_when_cancelled(make: QueueMaker) -> None:
    work = Bench()
    queue = make(work)
    update_id = queue.submit(order(), key=None)
    work.wait_until_started()
    queue.cancel(update_id)
    assert make.records.status(update_id).status == "dismissed"
    queue.cancel(update_id)  # again: no error
    assert make.ended == ["dismissed"]


def test_cancelling_reaches_an_update_that_another_process_carries_out(make: QueueMaker) -> None:
    work, idle = Bench(), Bench()
    update_id = make(work).submit(order(), key=None)
    work.wait_until_started()
    make(idle, reconcile_seconds=60).cancel(update_id)
    assert make.end(update_id) == "dismissed"
    assert idle.begun == []


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
    assert make.end(update_id) == "successful"


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


def test_run_of_another_kind_is_no_update(make: QueueMaker, tracking: Tracking) -> None:
    run = tracking.create_run("icss-updates", name="half-written", tags={"icss.kind": "update"})
    with pytest.raises(UpdateNotFoundError):
        make.records.status(run)
    for unknown in ("0" * 32, "", "../" * 8, "' or 1", "0" * 31 + "\n"):
        with pytest.raises(UpdateNotFoundError):
            make.records.status(unknown)
    assert all(status.id != run for status in make.records.statuses(model=None, limit=1000))
