"""The update queue when MLflow is away, when its process dies, and when another process takes over."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from queue_bench import LEASE_SECONDS, SECONDS, Bench, QueueMaker, order
from relay import Relay

from icss_core.errors import ClickError
from services.errors import TrackingUnavailableError
from services.serving.update_queue import MAX_ATTEMPTS
from services.serving.update_records import UpdateEnd, UpdateRecords
from services.tracking import Tracking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.serving.update_control import Control
    from services.serving.update_queue import UpdateQueue
    from services.settings import Settings


@pytest.fixture(autouse=True)
def mlflow_client_gives_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of hiding outages for minutes."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


class Line:
    """The records as one process reaches them, over a line that can be cut."""

    def __init__(self, settings: Settings) -> None:
        self.relay = Relay(int(settings.mlflow_uri.rpartition(":")[2]))
        own = settings.model_copy(update={"mlflow_uri": f"http://127.0.0.1:{self.relay.port}"})
        self.records = UpdateRecords(Tracking(own), lease_seconds=LEASE_SECONDS)


@pytest.fixture
def line(queue_settings: Settings) -> Iterator[Line]:
    line = Line(queue_settings)
    yield line
    line.relay.cut()


def wait_until_kept(make: QueueMaker, queue: UpdateQueue, update_id: str) -> None:
    """Until the update has ended, and its end waits for MLflow."""

    def is_kept() -> bool:
        progress = queue.progress(update_id)
        return progress is not None and progress.stage == "recording"

    make.wait_for(is_kept, update_id)


@pytest.mark.parametrize("state", ["successful", "failed", "dismissed"])
def test_end_that_mlflow_did_not_take_is_written_once_it_is_back(
    make: QueueMaker, line: Line, state: str
) -> None:
    work = Bench()

    def outcome(control: Control) -> int:
        control.commit()
        line.relay.cut()
        if state == "failed":
            raise ClickError("click 3 is off the raster")
        return 7

    work.outcome = outcome
    queue = make(work, records=line.records)
    update_id = queue.submit(order(), key=None)
    work.wait_until_started()
    if state == "dismissed":
        line.relay.cut()
        with pytest.raises(TrackingUnavailableError):  # the wish is not written down, but it is followed
            queue.cancel(update_id)
    else:
        work.release.set()
    wait_until_kept(make, queue, update_id)
    assert make.state(update_id) == "running"
    assert make.ended == []
    line.relay.mend()
    assert make.end(update_id) == state
    make.wait_for(lambda: make.ended == [state], update_id)
    assert queue.progress(update_id) is None
    assert queue.submit(order(), key=None) != update_id, "an equal request starts anew"


def test_waiting_update_is_cancelled_while_mlflow_is_away(make: QueueMaker, line: Line) -> None:
    work = Bench()
    queue = make(work, records=line.records)
    queue.submit(order("one"), key=None)
    waiting = queue.submit(order("two"), key=None)
    work.wait_until_started()
    line.relay.cut()
    queue.cancel(waiting)
    progress = queue.progress(waiting)
    assert progress is not None
    assert progress.cancelling
    line.relay.mend()
    assert make.end(waiting) == "dismissed"


def test_work_outlasts_a_server_that_is_away(make: QueueMaker, line: Line) -> None:
    work = Bench()
    calls = []

    def outcome(control: Control) -> int:
        line.relay.cut()
        threading.Timer(0.5, line.relay.mend).start()

        def write() -> int:
            calls.append(time.monotonic())
            line.records.pending()
            return 7

        return control.outlast(write)

    work.outcome = outcome
    work.release.set()
    update_id = make(work, records=line.records).submit(order(), key=None)
    assert make.end(update_id) == "successful"
    assert len(calls) > 1


def test_work_gives_up_on_a_server_that_stays_away_and_says_so(make: QueueMaker, line: Line) -> None:
    work = Bench()

    def outcome(control: Control) -> int:
        line.relay.cut()
        return control.outlast(lambda: len(line.records.pending()))

    work.outcome = outcome
    work.release.set()
    queue = make(work, records=line.records, patience=0.3)
    update_id = queue.submit(order(), key=None)
    wait_until_kept(make, queue, update_id)
    line.relay.mend()
    assert make.end(update_id) == "failed"
    error = make.records.status(update_id).error
    assert error is not None
    assert error.type == "TrackingUnavailableError"


def test_next_process_takes_up_what_a_crash_left_in_its_order(make: QueueMaker, line: Line) -> None:
    crashed = Bench()
    queue = make(crashed, records=line.records)
    running, waiting, unwanted = (queue.submit(order(name), key=None) for name in ("r", "w", "u"))
    crashed.wait_until_started()
    make.records.request_cancel(unwanted)  # written down, then the process died
    line.relay.cut()
    queue.close()  # as a crash: nothing more reaches the records
    assert [make.state(one) for one in (running, waiting)] == ["running", "accepted"]

    work = Bench()
    work.release.set()
    began = time.monotonic()
    make(work)
    assert make.end(waiting) == "successful"
    assert time.monotonic() - began > LEASE_SECONDS / 2, "the owner might have lived"
    assert make.state(unwanted) == "dismissed"
    assert work.begun == ["r", "w"]


def test_living_process_takes_up_what_another_left(make: QueueMaker, line: Line) -> None:
    survivor, crashed = Bench(), Bench()
    make(survivor).submit(order("its own"), key=None)
    survivor.wait_until_started()
    queue = make(crashed, records=line.records)
    update_id = queue.submit(order("left"), key=None)
    crashed.wait_until_started()
    line.relay.cut()
    queue.close()
    survivor.release.set()
    assert make.end(update_id) == "successful"
    assert survivor.begun == ["its own", "left"]


def test_update_whose_process_is_gone_can_be_cancelled(make: QueueMaker, line: Line) -> None:
    crashed = Bench()
    queue = make(crashed, records=line.records)
    update_id = queue.submit(order(), key=None)
    crashed.wait_until_started()
    line.relay.cut()
    queue.close()
    idle = Bench()
    next_one = make(idle)
    next_one.cancel(update_id)
    assert make.end(update_id) == "dismissed"
    assert idle.begun == []


def test_process_that_was_overtaken_registers_and_records_nothing(make: QueueMaker, line: Line) -> None:
    old = Bench()
    first = make(old, records=line.records)
    update_id = first.submit(order(), key=None)
    old.wait_until_started()
    line.relay.cut()  # no sign of life reaches the records any more, though it works on
    new = Bench()
    make(new)
    new.wait_until_started()
    line.relay.mend()
    old.release.set()
    make.wait_for(lambda: first.progress(update_id) is None, update_id)
    assert make.state(update_id) == "running", "the record belongs to the second"
    new.release.set()
    assert make.end(update_id) == "successful"
    make.wait_for(lambda: len(make.ended) > 0, update_id)  # told after the record is written
    assert make.ended == ["successful"]


def crash(make: QueueMaker, settings: Settings, update_id: str | None, *, reached: float = 0.0) -> str:
    """Let a process begin an update and die; returns the update's id."""
    line, work = Line(settings), Bench()
    queue = make(work, records=line.records)
    update_id = update_id or queue.submit(order(), key=None)
    work.wait_until_started()
    make.records.note_reached(update_id, reached)
    line.relay.cut()
    queue.close()
    return update_id


def test_update_that_kills_its_process_is_given_up(make: QueueMaker, queue_settings: Settings) -> None:
    update_id = None
    for _ in range(MAX_ATTEMPTS):
        update_id = crash(make, queue_settings, update_id, reached=3.5)
    survivor = Bench()
    make(survivor)
    assert update_id is not None
    assert make.end(update_id) == "failed"
    assert survivor.begun == []
    error = make.records.status(update_id).error
    assert error is not None
    assert "died 3 times in a row" in error.message


def test_update_that_gets_further_each_time_is_not_given_up(
    make: QueueMaker, queue_settings: Settings
) -> None:
    update_id = None
    for attempt in range(MAX_ATTEMPTS + 1):
        update_id = crash(make, queue_settings, update_id, reached=3 + attempt / 10)
    survivor = Bench()
    survivor.release.set()
    make(survivor)
    assert update_id is not None
    assert make.end(update_id) == "successful"


def test_restart_in_good_order_is_no_attempt_and_waits_for_nobody(make: QueueMaker) -> None:
    update_id = None
    for _ in range(MAX_ATTEMPTS + 1):
        work = Bench()
        queue = make(work)
        update_id = update_id or queue.submit(order(), key=None)
        work.wait_until_started()
        queue.close()
        assert make.state(update_id) == "accepted"
    survivor = Bench()
    survivor.release.set()
    make(survivor)
    assert make.end(update_id) == "successful"


def test_how_far_an_update_came_is_in_its_record(make: QueueMaker) -> None:
    work = Bench()
    update_id = make(work).submit(order(), key=None)
    work.wait_until_started()
    work.controls[0].enter("pictures")
    tracking = make.records._tracking
    make.wait_for(lambda: tracking.get(update_id).tags.get("icss.reached") == "5.0", update_id)
    make.records.note_reached(update_id, 2.0)
    assert tracking.get(update_id).tags["icss.reached"] == "5.0", "the furthest counts"


def test_two_processes_that_accept_one_request_accept_one_update(make: QueueMaker) -> None:
    queues = [make(Bench()) for _ in range(2)]
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda queue=queue: ids.append(queue.submit(order(), key="both")))
        for queue in queues
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_end_written_twice_is_the_same_end(make: QueueMaker) -> None:
    update_id = make.records.create(order(), key=None)
    for _ in range(2):
        make.records.end(update_id, UpdateEnd(state="successful", version=4))
    assert make.state(update_id) == "successful"
    assert make.records.take(update_id) is None, "nobody carries it out again"
