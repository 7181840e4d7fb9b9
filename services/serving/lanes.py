"""Whose turn it is: small predictions pass large ones, and neither waits for ever.

Two lanes, each first come, first served, each with one prediction at work. A large prediction takes minutes
or hours; if it had the process to itself, a small one of somebody else would time out behind it. Both lanes
compute at the same time and share the processor, so the large ones cannot be starved by small ones either.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from icss_core.errors import CancelledError
from services.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SMALL: Final = 8 * 2**20
"""Network pixels (`Tiling.network_pixels`) up to which a prediction is small: an image of 2500 x 2500 pixels
as the service tiles it by itself, a few seconds on a processor."""
_LOOK_SECONDS: Final = 0.1
"""How often one who waits asks whether it is still wanted."""


class _Lane:
    """One at a time, in the order they came."""

    def __init__(self, name: str, max_waiting: int) -> None:
        self._name = name
        self._max_waiting = max_waiting
        self._tickets: deque[object] = deque()
        """Of those inside: the first is at work."""
        self._moved = threading.Condition()

    def __len__(self) -> int:
        return len(self._tickets)

    @contextmanager
    def turn(self, should_stop: Callable[[], bool]) -> Iterator[None]:
        ticket = object()
        with self._moved:
            waiting = max(len(self._tickets) - 1, 0)
            if self._tickets and waiting >= self._max_waiting:
                raise BusyError(f"{waiting} {self._name} predictions are waiting already; try again later")
            self._tickets.append(ticket)
        try:
            with self._moved:
                while self._tickets[0] is not ticket:
                    if should_stop():
                        raise CancelledError("prediction stopped on request before its turn came")
                    self._moved.wait(_LOOK_SECONDS)
            yield
        finally:
            with self._moved:
                self._tickets.remove(ticket)
                self._moved.notify_all()


class Lanes:
    """The two lanes of a process. Safe to share between threads.

    Args:
        max_waiting: how many may wait in each lane; more are refused.
        small: network pixels up to which a prediction goes into the lane of the small ones.
    """

    def __init__(self, *, max_waiting: int, small: int = SMALL) -> None:
        self.places = 2 * (1 + max_waiting)
        """How many may be inside at once, at work or waiting."""
        self._small_up_to = small
        self._small = _Lane("small", max_waiting)
        self._large = _Lane("large", max_waiting)

    def __len__(self) -> int:
        """How many are inside, at work or waiting."""
        return len(self._small) + len(self._large)

    @contextmanager
    def turn(self, network_pixels: int, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Wait for a turn, and have it until the block ends.

        Args:
            network_pixels: what the prediction costs.
            should_stop: asked while waiting.

        Raises:
            BusyError: too many wait in this lane.
            CancelledError: `should_stop` said so before the turn came.
        """
        lane = self._small if network_pixels <= self._small_up_to else self._large
        with lane.turn(should_stop):
            yield
