"""How far a mapping job is."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from services.log_line import LogLine

_WINDOW: Final = 120.0
"""Seconds over which the pace is measured."""


class MapProgress(LogLine):
    """A line of the job's log.

    scenes: to be mapped, those done before included. done, skipped, failed: how many of them are mapped, were
    mapped before, and cannot be. km2: mapped in this start of the job, and km2_per_second its pace, where the
    scenes lie on the Earth; megapixels_per_second else too. seconds_left: estimated from pixels.
    """

    WORD = "mapping"

    scenes: int
    done: int
    skipped: int
    failed: int
    workers: int
    km2: float
    km2_per_second: float | None = None
    megapixels_per_second: float | None = None
    seconds_left: float | None = None


class Pace:
    """Pixels in a second, over the last two minutes.

    Args:
        total: pixels that are to be predicted.
    """

    def __init__(self, total: int) -> None:
        self._left = total
        self.predicted = 0
        """Pixels so far."""
        self._done: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def add(self, pixels: int, *, predicted: bool = True) -> None:
        """Note that a task has ended, or that its pixels will not be predicted."""
        self._left -= pixels
        if not predicted:
            return
        self.predicted += pixels
        now = time.monotonic()
        self._done.append((now, pixels))
        while len(self._done) > 2 and now - self._done[1][0] > _WINDOW:
            self._done.popleft()

    @property
    def pixels_per_second(self) -> float | None:
        """None before the first task has ended."""
        if len(self._done) < 2:
            return None
        pixels = sum(count for _, count in list(self._done)[1:])
        return pixels / max(time.monotonic() - self._done[0][0], 1e-3)

    @property
    def seconds_left(self) -> float | None:
        """Of work; None before the first task has ended."""
        pace = self.pixels_per_second
        return None if not pace else max(self._left, 0) / pace
