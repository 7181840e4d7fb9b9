"""Scenes and a version for the tests of mapping, and workers that are functions of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tiny_model import write_scene, write_tiny_model

from icss_core.errors import IcssError
from services.errors import may_pass
from services.mapping.request import MapRequest
from services.mapping.workers import Failure
from services.registry import Registry
from services.storage import Storage
from services.tracking import Tracking

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from services.mapping.scene_mapper import SceneMapper
    from services.mapping.workers import Outcome, Task
    from services.settings import Settings


def register_tiny(settings: Settings, folder: Path, name: str) -> int:
    """A version of the tiny model."""
    run = Tracking(settings).create_run("icss-pretraining", name=name, tags={})
    return Registry(settings).register(name, write_tiny_model(folder / "model"), run_id=run)


def store_scene(
    settings: Settings, folder: Path, address: str, *, height: int = 96, width: int = 160
) -> Path:
    """A small scene in the store; returns the local file."""
    path = write_scene(folder / address.rpartition("/")[2], height=height, width=width)
    Storage(settings).upload(path, address)
    return path


def request_for(model: str, version: int, base: str, **options: object) -> MapRequest:
    """Maps of everything under a prefix."""
    numbers = {"images": (f"{base}/in/",), "out": f"{base}/out", "tiling": {"window": 64, "overlap": 16}}
    return MapRequest.model_validate({"model": model, "version": version, **numbers, **options})


class WorkersHere:
    """Workers that carry their tasks out when they are asked what has ended.

    Args:
        mapper: does the work.
        before: called with a task and how often it was tried; may raise.
    """

    def __init__(
        self, mapper: SceneMapper, before: Callable[[Task, int], None] = lambda _task, _times: None
    ) -> None:
        self._mapper, self._before = mapper, before
        self._given: list[Task] = []
        self.done: list[Task] = []
        self.ready = 1

    @property
    def busy(self) -> int:
        return len(self._given)

    def free(self, waiting: int) -> int | None:
        return 0 if len(self._given) < 2 else None

    def give(self, number: int, task: Task) -> None:
        self._given.append(task)

    def finished(self, seconds: float) -> list[tuple[Task, Outcome]]:
        ended = [(task, self._outcome(task)) for task in self._given]
        self._given.clear()
        return ended

    def _outcome(self, task: Task) -> Outcome:
        times = self.done.count(task)
        self.done.append(task)
        try:
            self._before(task, times)
            if task.kind == "join":
                return self._mapper.join_parts(task.plan, task.seconds)
            if task.part is not None:
                return self._mapper.map_part(task.plan, task.part)
            return self._mapper.map_scene(task.plan)
        except IcssError as error:
            return Failure(error=type(error).__name__, message=str(error), passing=may_pass(error))
