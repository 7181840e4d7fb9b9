"""Mapping the scenes that are left: which task comes next, what is tried again, what is said meanwhile."""

from __future__ import annotations

import heapq
import logging
import time
from collections import Counter, defaultdict
from itertools import count
from typing import TYPE_CHECKING, Final, Protocol

from icss_core.errors import CancelledError
from services.errors import LostOwnershipError, TrackingError
from services.mapping.map_item import MapRecord
from services.mapping.progress import MapProgress, Pace
from services.mapping.scene_mapper import PartDone
from services.mapping.workers import Failure, Task

if TYPE_CHECKING:
    from services.mapping.meter import MapMeter
    from services.mapping.plan import ScenePlan
    from services.mapping.planning import Planned
    from services.mapping.workers import Outcome
    from services.ownership import Work
    from services.tracking import Tracking

_log = logging.getLogger(__name__)

CANCEL: Final = "icss.cancel"
"""Tag of a job that is to stop; empty: it is not."""
_TRIES: Final = 6
"""Of a task that fails for a reason that may pass. The pauses between them add up to five minutes."""
_PAUSE: Final = 5.0
"""Seconds before the second try; each further one waits twice as long."""
_POLL: Final = 0.5
_TELL_SECONDS: Final = 5.0


class Workers(Protocol):
    """Who carries tasks out; see `MapWorkers`."""

    @property
    def ready(self) -> int:
        """How many take tasks."""

    @property
    def busy(self) -> int:
        """Tasks that are being done."""

    def free(self, waiting: int) -> int | None:
        """A worker that takes the next task, None if there is none."""

    def give(self, number: int, task: Task) -> None:
        """Let a worker do a task."""

    def finished(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """What has ended, or ends within so long."""


class MapRun:
    """One start of a mapping job, from the planned scenes to their maps.

    Args:
        planned: its scenes.
        work: on the job's MLflow run.
        tracking: where progress is written down.
        meter: tells Prometheus.
        pause: see `_PAUSE`.
    """

    def __init__(
        self,
        planned: Planned,
        work: Work,
        tracking: Tracking,
        meter: MapMeter,
        *,
        pause: float = _PAUSE,
    ) -> None:
        self._work, self._tracking, self._meter = work, tracking, meter
        self._pause = pause
        self.records = list(planned.done)
        self.failures = dict(planned.failed)
        self._scenes = len(planned.to_do) + len(planned.done) + len(planned.failed)
        self._skipped = len(planned.done)
        self._queue: list[tuple[float, int, int, Task]] = []
        """A heap: when it may begin, the larger first, in the order they came."""
        self._numbers = count()
        self._parts_left: dict[str, int] = {}
        self._part_seconds: defaultdict[str, float] = defaultdict(float)
        self._tries: Counter[tuple[str, str, object]] = Counter()
        for plan in planned.to_do:
            self._plan(plan)
        self._pace = Pace(sum(plan.pixels for plan in planned.to_do))
        self._area = 0.0
        self._pixels = sum(plan.pixels for plan in planned.to_do)
        self._known_area = sum(plan.area or 0.0 for plan in planned.to_do)
        self._told = time.monotonic()
        self._began: float | None = None
        self.seconds = 0.0
        """From the first task that a worker got to the last that ended; the start of workers is not in it."""
        self._steps = count()

    @property
    def left(self) -> int:
        """Tasks that wait for a worker, those to be tried again included."""
        return len(self._queue)

    def map(self, workers: Workers) -> None:
        """Map all that is left; `records` and `failures` have every scene then.

        Raises:
            CancelledError: somebody asked the job to stop.
            LostOwnershipError: another process has taken it over.
            MappingError: the workers do not start.
        """
        while self._queue or workers.busy:
            self._give(workers)
            for task, outcome in workers.finished(_POLL):
                self._take(task, outcome)
                self.seconds = time.monotonic() - (self._began or self._told)
            if time.monotonic() - self._told >= _TELL_SECONDS:
                self._tell(workers.ready)
                self._obey()
        self._tell(workers.ready)

    def _plan(self, plan: ScenePlan) -> None:
        if len(plan.parts) == 1:
            self._put(Task(plan=plan, kind="scene"))
            return
        self._parts_left[plan.scene.name] = len(plan.parts)
        for part in plan.parts:
            self._put(Task(plan=plan, kind="part", part=part))

    def _put(self, task: Task, *, after: float = 0.0) -> None:
        """Queue a task; joining parts comes first, as it ends a scene."""
        size = -task.pixels if task.kind != "join" else -(2**62)
        begin = time.monotonic() + after if after else 0.0
        heapq.heappush(self._queue, (begin, size, next(self._numbers), task))

    def _give(self, workers: Workers) -> None:
        while self._queue and self._queue[0][0] <= time.monotonic():
            number = workers.free(len(self._queue))
            if number is None:
                return
            task = heapq.heappop(self._queue)[-1]
            if task.plan.scene.address not in self.failures:
                self._began = self._began or time.monotonic()
                workers.give(number, task)

    def _take(self, task: Task, outcome: Outcome) -> None:
        scene = task.plan.scene
        if scene.address in self.failures:
            return  # another part of it has failed for good
        if isinstance(outcome, Failure):
            self._failed(task, outcome)
            return
        if isinstance(outcome, MapRecord):
            self.records.append(outcome)
            self._area += sum((outcome.square_metres or {}).values())
            self._meter.mapped()
        if task.kind != "join":
            self._pace.add(task.pixels)
            self._meter.predicted(task.pixels)
        if isinstance(outcome, PartDone):
            self._part_seconds[scene.name] += outcome.seconds
            self._parts_left[scene.name] -= 1
            if self._parts_left[scene.name] == 0:
                self._put(Task(plan=task.plan, kind="join", seconds=self._part_seconds[scene.name]))

    def _failed(self, task: Task, failure: Failure) -> None:
        scene = task.plan.scene
        key = (scene.name, task.kind, task.part)
        self._tries[key] += 1
        tries = self._tries[key]
        if failure.passing and tries < _TRIES:
            pause = self._pause * 2 ** (tries - 1)
            _log.warning(
                "%s: %s: %s; tried again in %.0f s", scene.address, failure.error, failure.message, pause
            )
            self._put(task, after=pause)
            return
        _log.error("%s has no map: %s: %s", scene.address, failure.error, failure.message)
        self.failures[scene.address] = failure
        self._meter.failed()
        self._pace.add(task.plan.pixels, predicted=False)

    def _tell(self, workers: int) -> None:
        """Say how far the job is, in its log and in its run."""
        self._told = time.monotonic()
        pixels_per_second = self._pace.pixels_per_second
        km2 = self._known_area * self._pace.predicted / max(self._pixels, 1) / 1e6
        progress = MapProgress(
            scenes=self._scenes,
            done=len(self.records),
            skipped=self._skipped,
            failed=len(self.failures),
            workers=workers,
            km2=round(km2, 6),
        )
        if pixels_per_second is not None:
            share = self._known_area / max(self._pixels, 1) / 1e6
            left = self._pace.seconds_left
            progress = progress.model_copy(
                update={
                    "km2_per_second": round(pixels_per_second * share, 6) if self._known_area else None,
                    "megapixels_per_second": round(pixels_per_second / 1e6, 3),
                    "seconds_left": None if left is None else round(left),
                }
            )
        _log.info("%s", progress.line())
        metrics = {name: float(value) for name, value in progress.model_dump(exclude_none=True).items()}
        try:
            self._tracking.log_metrics(self._work.run_id, [(next(self._steps), time.time(), metrics)])
        except TrackingError as error:  # a server that is away for a while must not end a long job
            _log.warning("progress is not written down: %s", error)

    def _obey(self) -> None:
        """Stop where somebody else owns the job, or asked it to stop."""
        if self._work.lease.is_lost:
            raise LostOwnershipError("another process has taken the job over; this one gives up")
        try:
            record = self._tracking.get(self._work.run_id)
        except TrackingError:  # told above
            return
        if record is not None and record.tags.get(CANCEL):
            raise CancelledError("the job was asked to stop; the maps that are done stay")
