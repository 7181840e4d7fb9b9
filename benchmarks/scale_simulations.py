"""Training, maps and updates as discrete events: what more workers, or more annotators, come to.

Times are seconds. What varies from one time to the next is drawn from a gamma distribution around its mean,
with a coefficient of variation; 0 leaves it as it is.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from events import Barrier, Process, Server, Simulation, Store

if TYPE_CHECKING:
    from collections.abc import Callable


def seeded(seed: int) -> random.Random:
    """Numbers that are the same at each start."""
    return random.Random(seed)  # noqa: S311 - nothing here is secret


def varied(rng: random.Random, mean: float, variation: float) -> float:
    """A draw around a mean."""
    if variation == 0 or mean == 0:
        return mean
    shape = variation**-2
    return rng.gammavariate(shape, mean / shape)


def ring_seconds(workers: int, size: float, bandwidth: float, latency: float) -> float:
    """Of a ring all-reduce: twice, each worker passes all parts but its own on to the next.

    Args:
        workers: in the ring.
        size: bytes to be added up.
        bandwidth: bytes a second from one worker to the next.
        latency: seconds of a message.
    """
    return 2 * (workers - 1) * (size / workers / bandwidth + latency)


@dataclass(frozen=True, kw_only=True)
class TrainingCosts:
    """Of a data-parallel training; times of one worker."""

    start: float
    """From the submission to the first iteration of one worker."""
    start_each: float
    """More for each further worker."""
    compute: float
    """Forward and backward pass and optimiser, of one batch."""
    compute_variation: float
    batch: int
    """Crops of one worker."""
    read: float
    """Making a batch, in one thread beside the training."""
    read_variation: float
    batch_bytes: float
    """Out of the store for a batch."""
    store_bandwidth: float
    """Bytes a second that the store gives to all workers together."""
    gradient_bytes: float
    workers_per_node: int
    node_bandwidth: float
    """Bytes a second between two workers of a node."""
    network_bandwidth: float
    """Bytes a second between two nodes."""
    latency: float
    overlap: float
    """Part of the compute time in which gradients can travel while others are computed."""
    checkpoint: float
    checkpoint_every: int
    ahead: int = 2
    """Batches made ahead."""

    def all_reduce(self, workers: int) -> float:
        """Seconds of it that the next iteration waits for."""
        across = workers > self.workers_per_node
        bandwidth = self.network_bandwidth if across else self.node_bandwidth
        whole = ring_seconds(workers, self.gradient_bytes, bandwidth, self.latency)
        return max(whole - self.overlap * self.compute, 0.0)


@dataclass(frozen=True)
class Trained:
    """A training."""

    seconds: float
    """From the submission to the end."""
    samples_per_second: float
    """While it iterates, checkpoints included."""
    input_wait_share: float
    """Part of that time in which a worker waits for its own batch, mean of all: what the product measures.
    Where reading varies, the others wait for this worker, so that it is less than what the input costs."""
    idle_share: float
    """Part in which a worker neither computes nor sends nor saves, mean of all."""


def train(costs: TrainingCosts, workers: int, iterations: int, *, seed: int = 0) -> Trained:
    """Simulate a training of so many workers that wait for each other at every iteration."""
    simulation, rng = Simulation(), seeded(seed)
    barrier = Barrier(simulation, workers)
    exposed = costs.all_reduce(workers)
    fetch = costs.batch_bytes * workers / costs.store_bandwidth  # all fetch at the same time
    begin = costs.start + costs.start_each * (workers - 1)
    waited = busy = ended = 0.0

    def reader(store: Store) -> Process:
        for _ in range(iterations):
            yield store.put()
            yield max(varied(rng, costs.read, costs.read_variation), fetch)
            store.made()

    def worker(store: Store, rank: int) -> Process:
        nonlocal waited, busy, ended
        for iteration in range(1, iterations + 1):
            asked = simulation.now
            yield store.take()
            store.taken()
            waited += simulation.now - asked
            seconds = varied(rng, costs.compute, costs.compute_variation)
            busy += seconds + exposed
            yield seconds
            yield barrier
            yield exposed
            if rank == 0 and iteration % costs.checkpoint_every == 0:
                busy += costs.checkpoint
                yield costs.checkpoint
        ended = simulation.now

    for rank in range(workers):
        store = Store(simulation, costs.ahead)
        simulation.start(reader(store), after=begin)
        simulation.start(worker(store, rank), after=begin)
    simulation.run()
    iterating = ended - begin
    return Trained(
        seconds=ended,
        samples_per_second=workers * costs.batch * iterations / iterating,
        input_wait_share=waited / (workers * iterating),
        idle_share=1 - busy / (workers * iterating),
    )


@dataclass(frozen=True, kw_only=True)
class MapCosts:
    """Of mapping scenes; times of one worker."""

    start: float
    """From the submission until the first worker has its network."""
    start_each: float
    """More for each further worker: they start side by side, and hinder each other."""
    scene: float
    """Opening, writing and cataloguing a scene, whatever its size."""
    pixels_per_second: float
    """Reading, network and writing of one worker with the store beside it."""
    variation: float
    bytes_per_pixel: float
    """Out of the store."""
    connection_bandwidth: float
    """Bytes a second that the store gives to one worker."""
    store_bandwidth: float
    """And to all together."""


def map_scenes(costs: MapCosts, workers: int, scenes: list[float], *, seed: int = 0) -> float:
    """Seconds from the submission until the last scene of so many pixels is mapped.

    Reading runs beside the network, so that the slower of both counts.
    """
    simulation, rng = Simulation(), seeded(seed)
    bandwidth = min(costs.connection_bandwidth, costs.store_bandwidth / workers)
    left = iter(scenes)
    ended = 0.0

    def worker() -> Process:
        nonlocal ended
        for pixels in left:
            work = varied(rng, pixels / costs.pixels_per_second, costs.variation)
            yield costs.scene + max(work, pixels * costs.bytes_per_pixel / bandwidth)
            ended = simulation.now

    for _ in range(workers):
        simulation.start(worker(), after=costs.start + costs.start_each * (workers - 1))
    simulation.run()
    return ended


@dataclass(frozen=True)
class Waits:
    """How long updates waited for their turn."""

    mean: float
    most: float
    """95 of 100 waited no longer."""
    busy: float
    """Part of the time in which a server worked."""
    refused: float
    """Part of the requests that found as many waiting as the queue takes."""
    per_hour: float


class Queue:
    """A first-come queue and the notes on it."""

    def __init__(
        self, simulation: Simulation, service: Callable[[], float], *, servers: int, limit: int
    ) -> None:
        self._simulation, self._service = simulation, service
        self._server = Server(simulation, servers)
        self._servers, self._limit = servers, limit
        self.waits: list[float] = []
        self._worked = 0.0
        self._asked = self._refused = 0

    def visit(self) -> Process:
        """Wait, be served, leave; to be used with `yield from`."""
        asked = self._simulation.now
        self._asked += 1
        self._refused += self._server.waiting >= self._limit
        yield self._server.request()
        self.waits.append(self._simulation.now - asked)
        seconds = self._service()
        self._worked += seconds
        yield seconds
        self._server.release()

    def summary(self) -> Waits:
        """What was noted until now."""
        ordered = sorted(self.waits) or [0.0]
        return Waits(
            mean=statistics.fmean(ordered),
            most=ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)],
            busy=min(self._worked / (self._servers * self._simulation.now), 1.0),
            refused=self._refused / max(self._asked, 1),
            per_hour=3600 * len(self.waits) / self._simulation.now,
        )


def annotators(
    number: int,
    *,
    think: Callable[[random.Random], float],
    service: Callable[[random.Random], float],
    hours: float,
    servers: int = 1,
    limit: int = 16,
    seed: int = 0,
) -> Waits:
    """So many people who click for a while, send an update, wait for it, and click again.

    Nobody is turned away: the part of requests that would have been is counted.
    """
    simulation, rng = Simulation(), seeded(seed)
    queue = Queue(simulation, lambda: service(rng), servers=servers, limit=limit)

    def annotator() -> Process:
        while True:
            yield think(rng)
            yield from queue.visit()

    for _ in range(number):
        simulation.start(annotator())
    simulation.run(until=3600 * hours)
    return queue.summary()


def arrivals(
    number: int,
    *,
    between: Callable[[random.Random], float],
    service: Callable[[random.Random], float],
    servers: int = 1,
    seed: int = 0,
) -> Waits:
    """So many requests that come whatever the queue is like: the textbook's case, by which this is tested."""
    simulation, rng = Simulation(), seeded(seed)
    queue = Queue(simulation, lambda: service(rng), servers=servers, limit=number)

    def source() -> Process:
        for _ in range(number):
            yield between(rng)
            simulation.start(queue.visit())

    simulation.start(source())
    simulation.run()
    return queue.summary()


def annotators_per_service(wait: float, waits_of: Callable[[int], Waits], *, most: int = 2000) -> int:
    """Most annotators of one service of whose updates 95 of 100 wait no longer; one never waits.

    Args:
        wait: seconds.
        waits_of: how so many annotators wait.
        most: no more are looked at.
    """
    enough, too_many = 1, 2
    while too_many <= most and waits_of(too_many).most <= wait:
        enough, too_many = too_many, min(2 * too_many, most + 1)
    while too_many - enough > 1:
        between = (enough + too_many) // 2
        if waits_of(between).most <= wait:
            enough = between
        else:
            too_many = between
    return enough
