"""A small discrete-event simulation: processes are generators, time passes where they wait.

    def customer(simulation, server):
        yield server.request()     # until it is one's turn
        yield 3.5                  # three and a half seconds of service
        server.release()

A process yields a number of seconds, or something with `join(process)`, which continues it later.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Generator
from typing import Any, Protocol, TypeAlias


class Waitable(Protocol):
    """What a process can wait for."""

    def join(self, process: Process) -> None:
        """Let the process wait; `Simulation.resume` continues it."""


Process: TypeAlias = Generator["float | Waitable", None, None]


class Simulation:
    """The clock, and what happens when."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = itertools.count()  # what is due at the same time happens in the order it was planned
        self._due: list[tuple[float, int, Process]] = []

    def start(self, process: Process, *, after: float = 0.0) -> None:
        """Let a process begin, after so many seconds."""
        self.resume(process, after=after)

    def resume(self, process: Process, *, after: float = 0.0) -> None:
        """Continue a process that waits."""
        heapq.heappush(self._due, (self.now + after, next(self._order), process))

    def run(self, until: float = float("inf")) -> None:
        """Let everything happen that is due by then, or until nothing is left."""
        while self._due and self._due[0][0] <= until:
            self.now, _, process = heapq.heappop(self._due)
            wanted: Any = next(process, None)
            if isinstance(wanted, int | float):
                self.resume(process, after=wanted)
            elif wanted is not None:
                wanted.join(process)


class Server:
    """So many places, taken in the order in which they were asked for."""

    def __init__(self, simulation: Simulation, places: int = 1) -> None:
        self._simulation = simulation
        self._free = places
        self._waiting: deque[Process] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def request(self) -> Server:
        """To be yielded: continues when a place is this process's."""
        return self

    def join(self, process: Process) -> None:
        """See `Waitable`."""
        if self._free:
            self._free -= 1
            self._simulation.resume(process)
        else:
            self._waiting.append(process)

    def release(self) -> None:
        """Give the place to the next."""
        if self._waiting:
            self._simulation.resume(self._waiting.popleft())
        else:
            self._free += 1


class Barrier:
    """Where processes wait until all of them are there; it can be used again."""

    def __init__(self, simulation: Simulation, parties: int) -> None:
        self._simulation, self._parties = simulation, parties
        self._here: list[Process] = []

    def join(self, process: Process) -> None:
        """See `Waitable`."""
        self._here.append(process)
        if len(self._here) == self._parties:
            for one in self._here:
                self._simulation.resume(one)
            self._here = []


class Store:
    """Things put by some processes and taken by others, at most so many at a time."""

    def __init__(self, simulation: Simulation, capacity: int) -> None:
        self._filled = Server(simulation, 0)
        self._room = Server(simulation, capacity)

    def put(self) -> Server:
        """To be yielded before making a thing: continues when there is room for it."""
        return self._room

    def made(self) -> None:
        """The thing is there."""
        self._filled.release()

    def take(self) -> Server:
        """To be yielded: continues when a thing is there, which is then taken."""
        return self._filled

    def taken(self) -> None:
        """Make room for another."""
        self._room.release()
