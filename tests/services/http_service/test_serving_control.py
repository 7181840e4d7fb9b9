"""The switchboard of one update: when it stops, when it can no longer be stopped, how far it is."""

from __future__ import annotations

import threading
import time

import pytest

from icss_core.errors import CancelledError
from icss_core.updating import UpdateProgress
from services.errors import ConflictError, LostOwnershipError, TrackingError, TrackingUnavailableError
from services.serving.update_control import UpdateControl


class Held:
    """Stands for a lease, which cannot be lost on purpose without a server."""

    def __init__(self) -> None:
        self.is_lost = False

    def check(self) -> None:
        if self.is_lost:
            raise LostOwnershipError("run x was taken over")


@pytest.fixture
def closing() -> threading.Event:
    return threading.Event()


@pytest.fixture
def lease() -> Held:
    return Held()


@pytest.fixture
def control(closing: threading.Event, lease: Held) -> UpdateControl:
    control = UpdateControl("x", closing=closing, patience=0.5)
    control.begin(lease)
    return control


def report(control: UpdateControl, stage, step: int, steps: int = 10, left: float = 1.0) -> None:
    control.report(UpdateProgress(stage=stage, step=step, steps=steps, loss=0.5, terms={}, seconds_left=left))


def test_it_stops_for_three_reasons(control: UpdateControl, closing: threading.Event, lease: Held) -> None:
    assert not control.should_stop()
    lease.is_lost = True
    assert control.should_stop()
    lease.is_lost = False
    closing.set()
    assert control.should_stop()
    closing.clear()
    control.cancel()
    assert control.should_stop()
    assert control.progress.cancelling


def test_nothing_is_committed_once_cancelled_and_nothing_cancelled_once_committed(
    control: UpdateControl, closing: threading.Event
) -> None:
    control.commit()
    control.commit()  # again: no error
    with pytest.raises(ConflictError, match="can no longer be cancelled"):
        control.cancel()
    assert not control.is_cancelled

    other = UpdateControl("y", closing=closing)
    other.begin(Held())
    other.cancel()
    with pytest.raises(CancelledError):
        other.commit()


def test_nothing_is_committed_without_owning_the_update(
    control: UpdateControl, closing: threading.Event, lease: Held
) -> None:
    lease.is_lost = True
    with pytest.raises(LostOwnershipError, match="taken over"):
        control.commit()
    with pytest.raises(LostOwnershipError, match="never begun"):
        UpdateControl("y", closing=closing).commit()


def test_what_it_reached_grows_with_the_work(control: UpdateControl) -> None:
    reached = [control.reached]
    for stage, step in (("memory", 0), ("memory", 7), ("memory", 10), ("training", 1), ("training", 9)):
        report(control, stage, step)
        reached.append(control.reached)
    control.enter("registering")
    reached.append(control.reached)
    assert reached == sorted(reached)
    assert len(set(reached)) == len(reached)


def test_calls_are_made_again_while_the_server_is_away(control: UpdateControl) -> None:
    answers = iter([TrackingUnavailableError("away"), TrackingUnavailableError("away"), 5])

    def call() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert control.outlast(call) == 5


def test_patience_ends(control: UpdateControl) -> None:
    def away() -> None:
        raise TrackingUnavailableError("away")

    with pytest.raises(TrackingUnavailableError):
        control.outlast(away)


def test_a_refusal_is_final(control: UpdateControl) -> None:
    calls = []

    def refuse() -> None:
        calls.append(1)
        raise TrackingError("refused")

    with pytest.raises(TrackingError):
        control.outlast(refuse)
    assert calls == [1]


def test_waiting_for_the_server_can_be_cancelled(closing: threading.Event) -> None:
    control = UpdateControl("x", closing=closing, patience=60)

    def away() -> None:
        control.cancel()
        raise TrackingUnavailableError("away")

    started = time.monotonic()
    with pytest.raises(CancelledError):
        control.outlast(away)
    assert time.monotonic() - started < 30, "the half of its patience"
