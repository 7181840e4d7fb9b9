"""Which images each task of a protocol sees: a manifest that can be made again, and compared by its hash."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from icss_core.continual.protocol import IncrementalProtocol
from icss_core.errors import DatasetError
from icss_core.labels import name_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from icss_core.dataset import Dataset


class TaskManifest(BaseModel):
    """The tasks of a protocol on a data set: their classes, and their training scenes by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: IncrementalProtocol
    dataset_hash: str
    """`Dataset.manifest_hash` of the data."""
    classes: tuple[tuple[str, ...], ...]
    scenes: tuple[tuple[str, ...], ...]

    @property
    def manifest_hash(self) -> str:
        """SHA-256 (hexadecimal) of the canonical JSON."""
        content = self.model_dump(mode="json")
        if content["protocol"]["score"] is None:  # protocols had hashes before they had this field
            del content["protocol"]["score"]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def scenes_hash(self, task: int) -> str:
        """SHA-256 (hexadecimal) of a task's scene names.

        Two protocols with equal first tasks have equal hashes there, so that those tasks are trained once.
        """
        return hashlib.sha256(json.dumps(self.scenes[task]).encode()).hexdigest()


def split_tasks(
    dataset: Dataset, protocol: IncrementalProtocol, labels: Mapping[str, Sequence[str]]
) -> TaskManifest:
    """Decide which training scenes each task sees; see `Setting`.

    Args:
        dataset: the data; its training scenes that have a mask are given to the tasks.
        protocol: groups, setting and seed.
        labels: by scene name, the classes that its mask shows anywhere (`scenes[].labels` of the data set, or
            read from the masks).

    Raises:
        InvalidParameterError: the protocol names what the data set does not have.
        DatasetError: a task is left without a scene, or the classes of a scene are not known.
    """
    classes = protocol.classes_of(dataset)
    task_of = {name_key(name): task for task, group in enumerate(classes) for name in group}
    scenes: list[list[str]] = [[] for _ in classes]
    for scene in dataset.scenes_of("train"):
        if scene.mask is None:
            continue
        if scene.name not in labels:
            raise DatasetError(f"it is not known which classes scene {scene.name!r} shows")
        tasks = sorted({task_of[key] for key in map(name_key, labels[scene.name]) if key in task_of})
        for task in _chosen(tasks, protocol, scene.name):
            scenes[task].append(scene.name)
    empty = [list(group) for group, members in zip(classes, scenes, strict=True) if not members]
    if empty:
        raise DatasetError(
            f"protocol {protocol.name!r} ({protocol.setting}) leaves no training scene of {dataset.name!r} "
            f"for the classes {empty}"
        )
    return TaskManifest(
        protocol=protocol,
        dataset_hash=dataset.manifest_hash,
        classes=classes,
        scenes=tuple(tuple(members) for members in scenes),
    )


def _chosen(tasks: Sequence[int], protocol: IncrementalProtocol, name: str) -> Sequence[int]:
    """Which tasks see a scene, out of `tasks`: those whose classes it shows, in order."""
    if len(tasks) < 2 or protocol.setting == "overlapped":
        return tasks
    if protocol.setting == "disjoint":
        # an image that shows a class of a later task belongs to that task only
        return tasks[-1:]
    # seeded by the name of the scene, so that adding or removing a scene does not change where others belong
    digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    draw = np.random.default_rng([protocol.seed, digest])
    return [tasks[int(draw.integers(len(tasks)))]]
