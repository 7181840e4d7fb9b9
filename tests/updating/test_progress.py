"""What an update says of the time that is left."""

import numpy as np
import pytest

from icss_core.clicks import ClickSet
from icss_core.updating.progress import UpdateClock
from icss_core.updating.tiles import working_area


@pytest.mark.parametrize("told", [True, False])
def test_the_report_is_timed_from_the_end_of_the_training_whoever_trains(told, monkeypatch):
    now, seen = 0.0, []
    monkeypatch.setattr("icss_core.updating.progress.time.perf_counter", lambda: now)
    clock = UpdateClock(seen.append, working_area(1024, 1024, ClickSet.empty()), iterations=10)
    for tile in range(1, 5):
        now += 1
        clock.tell("memory", tile, 4)
    now += 1
    clock.tell("head", 1, 1)
    for iteration in range(1, 11):  # in a job, nobody tells the clock
        now += 100
        if told:
            clock.tell("training", iteration, 10)
    clock.reached("training", 10)
    now += 2
    clock.tell("report", 1, 4)
    assert np.isclose(seen[-1].seconds_left, 6)
