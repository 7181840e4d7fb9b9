"""The processes of a mapping job, one Ray actor each, and who of them does what.

Actors and not Ray Data: a scene is a task of seconds to minutes whose result is a file in the store. There is
no data to stream between stages, and the driver has to know of each scene how it ended. With its start, Ray
Data's pool of actors took 1.05 and 1.09 times as long for 40 scenes on 1 and 2 workers
(`benchmarks/mapping.py`).
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import ray
import torch
from ray.exceptions import RayActorError, RayError

from icss_core.errors import IcssError
from services.errors import MappingError, may_pass
from services.mapping.map_item import MapRecord
from services.mapping.request import MapRequest
from services.mapping.scene_mapper import PartDone, SceneMapper
from services.registry import Registry
from services.settings import load_settings
from services.storage import Storage

if TYPE_CHECKING:
    from icss_core.inference.tiling import RowRange
    from services.mapping.plan import ScenePlan

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 2
"""Scenes that a worker has at a time: while it predicts one, it fetches the next or stores the last."""
_STARTS: Final = 5
"""How often workers may fail to start, without one that does, before the job gives up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Something that one worker does as a whole."""

    plan: ScenePlan
    kind: Literal["scene", "part", "join"]
    part: RowRange | None = None
    """Of kind "part": which."""
    seconds: float = 0.0
    """Of kind "join": that the parts took."""

    @property
    def pixels(self) -> int:
        """That are predicted."""
        if self.kind == "join":
            return 0
        rows = self.plan.height if self.part is None else self.part.end - self.part.first
        return rows * self.plan.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A task that did not go well."""

    error: str
    """Name of the error's class."""
    message: str
    passing: bool
    """Whether the same may go well later."""


Outcome = MapRecord | PartDone | Failure


class MapWorker:
    """One process that makes maps; a Ray actor."""

    def __init__(self, request: str, threads: int) -> None:
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        settings = load_settings()
        torch.set_num_threads(threads)
        self._mapper = SceneMapper(
            MapRequest.model_validate_json(request), Registry(settings), Storage(settings)
        )

    @ray.method(max_task_retries=-1)  # Ray waits itself while it starts the process again
    def ready(self) -> int:
        """That it answers says so; its process id."""
        return os.getpid()

    def do(self, task: Task) -> Outcome:
        """Carry a task out."""
        try:
            if task.kind == "join":
                return self._mapper.join_parts(task.plan, task.seconds)
            if task.part is not None:
                return self._mapper.map_part(task.plan, task.part)
            return self._mapper.map_scene(task.plan)
        except IcssError as error:
            return Failure(error=type(error).__name__, message=str(error), passing=may_pass(error))


class MapWorkers:
    """Workers on a Ray cluster, as many as asked for or as few as there is room for; a context manager.

    A worker whose process or machine dies is started again, elsewhere if need be, while the others go on.

    Args:
        request: the job's.
        tasks: that there are; more workers than these are not started.
        gpus: of each worker.

    Raises:
        MappingError: from `finished`: workers fail to start.
    """

    def __init__(self, request: MapRequest, *, tasks: int, gpus: int) -> None:
        self._request, self._gpus = request, gpus
        self._actors: list[Any] = [self._new_actor() for _ in range(min(request.workers, tasks))]
        self._starting: dict[Any, int] = {}
        self._doing: dict[Any, tuple[int, Task]] = {}
        self._ready: set[int] = set()
        self._failed_starts = 0
        for number in range(len(self._actors)):
            self._expect(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self._actors:
            ray.kill(actor)

    @property
    def ready(self) -> int:
        """How many workers take tasks."""
        return len(self._ready)

    @property
    def busy(self) -> int:
        """Tasks that are being done."""
        return len(self._doing)

    def free(self, waiting: int) -> int | None:
        """A worker that takes the next task; None if there is none.

        Args:
            waiting: tasks that are not given to a worker yet. Near the end none gets a second one, which
                another might do sooner.
        """
        loads = dict.fromkeys(self._ready, 0)
        for number, _ in self._doing.values():
            if number in loads:
                loads[number] += 1
        least = min(loads, key=lambda number: loads[number], default=None)
        if least is None or loads[least] >= (_AT_ONCE if waiting > len(self._actors) else 1):
            return None
        return least

    def give(self, number: int, task: Task) -> None:
        """Let a worker do a task."""
        self._doing[self._actors[number].do.remote(task)] = (number, task)

    def finished(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """Wait until a task ends, at most so long; what has ended by then.

        Raises:
            MappingError: workers fail to start.
        """
        waiting = [*self._doing, *self._starting]
        done, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        if not done:
            done, _ = ray.wait(waiting, num_returns=1, timeout=seconds)
        ended = []
        for reference in done:
            if reference in self._starting:
                self._started(reference)
            else:
                number, task = self._doing.pop(reference)
                ended.append((task, self._outcome(reference, number)))
        return ended

    def _new_actor(self) -> Any:
        request = self._request
        actor = ray.remote(MapWorker).options(
            num_cpus=request.cpus_per_worker,
            num_gpus=self._gpus,
            max_restarts=-1,
            max_concurrency=_AT_ONCE,
            scheduling_strategy="SPREAD",
        )
        return actor.remote(request.model_dump_json(), request.cpus_per_worker)

    def _expect(self, number: int) -> None:
        """Wait for a worker to answer before it gets anything to do."""
        self._ready.discard(number)
        self._starting[self._actors[number].ready.remote()] = number

    def _started(self, reference: Any) -> None:
        number = self._starting.pop(reference)
        try:
            ray.get(reference)
        except RayActorError as error:  # its constructor failed, which Ray does not try again
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                raise MappingError(f"the workers do not start: {error}") from error
            _log.warning("worker %d did not start: %s", number, error)
            self._actors[number] = self._new_actor()
            self._expect(number)
        else:
            self._failed_starts = 0
            self._ready.add(number)

    def _outcome(self, reference: Any, number: int) -> Outcome:
        try:
            outcome: Outcome = ray.get(reference)
        except RayActorError as error:
            _log.warning("worker %d has died, and is started again: %s", number, error)
            if number in self._ready:  # only its first task that fails tells
                self._expect(number)
            return Failure(error="MappingError", message="the worker's process died", passing=True)
        except RayError as error:  # what is no error of ours: a bug, or memory
            return Failure(error=type(error).__name__, message=str(error)[-2000:], passing=True)
        return outcome
