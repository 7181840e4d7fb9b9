"""Checkpoints of a training: a folder on disk, and the store's prefix where a job keeps the last one.

Workers of Ray Train and the job's own process write the same, so that a job may go on in either way.
"""

from __future__ import annotations

import json
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from pydantic import BaseModel

from icss_core.networks.model_folder import save_model
from services.training.report import IterationPoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icss_core.networks.model_folder import ModelCard
    from icss_core.training import Fit
    from services.storage import Storage

MODEL_FOLDER: Final = "model"
_STATE: Final = "state.pt"
_PROGRESS: Final = "progress.json"
_DOCUMENTS: Final = "documents.json"
_MARKER: Final = re.compile(r"/latest(?:-(\d+))?\.txt$")
_FOLDER: Final = re.compile(r"/checkpoint-(?:(\d+)-)?\d+/")
"""Both without a generation in jobs from before there was one."""


class TrainingProgress(BaseModel):
    """How far a training is."""

    iteration: int
    iterations: int
    """In all, which a time budget may have made fewer than were asked for."""
    seconds: float
    """Time trained so far, over all starts."""
    points: list[IterationPoint] = []
    """The last iterations. The job may not have heard of all of them when it was stopped; so they are
    reported once more when the training goes on, and it takes those that it has not."""


def save_checkpoint(
    folder: Path, fit: Fit, progress: TrainingProgress, *, finished: ModelCard | None = None
) -> None:
    """Write a checkpoint into an empty folder.

    Args:
        folder: where to.
        fit: the state of the training.
        progress: how far it is.
        finished: card of the network, where it is finished: the folder then holds the model version instead
            of the training's state, with everything that later tasks need of this training.
    """
    if finished is None:
        torch.save(fit.state_dict(), folder / _STATE)
    else:
        learner = fit.learner
        save_model(folder / MODEL_FOLDER, learner.network, finished, artefacts=learner.artefacts())
        (folder / _DOCUMENTS).write_text(json.dumps(learner.documents()), encoding="utf-8")
    (folder / _PROGRESS).write_text(progress.model_dump_json())


def read_progress(folder: Path) -> TrainingProgress:
    """How far the training was when a checkpoint was saved."""
    return TrainingProgress.model_validate_json((folder / _PROGRESS).read_text())


def is_finished(folder: Path) -> bool:
    """Whether a checkpoint holds the finished model version, in `MODEL_FOLDER`."""
    return (folder / MODEL_FOLDER).is_dir()


def read_documents(folder: Path) -> dict[str, Any]:
    """What the learner of a finished training had to say (`Learner.documents`), by name."""
    documents: dict[str, Any] = json.loads((folder / _DOCUMENTS).read_text(encoding="utf-8"))
    return documents


def load_checkpoint(folder: Path, fit: Fit) -> TrainingProgress:
    """Bring a training to where the checkpoint was taken. Nothing in it is executed."""
    fit.load_state_dict(torch.load(folder / _STATE, map_location=fit.device, weights_only=True))
    return read_progress(folder)


class CheckpointStore:
    """The last checkpoint of a job, under a prefix of the store.

    A checkpoint counts once a marker names it: one that was cut off is never read. Each owner of a job has a
    marker of its own, and the latest owner's counts: workers of an owner before, which go on for a moment
    after they were overtaken, spoil nothing.

    Args:
        storage: the store.
        prefix: s3:// prefix of the job, which nobody else writes under.
        generation: of the job's lease (`services.ownership`); 0: nobody owns it.
    """

    def __init__(self, storage: Storage, prefix: str, *, generation: int = 0) -> None:
        self._storage, self._prefix, self._generation = storage, prefix, generation

    @contextmanager
    def latest(self) -> Iterator[Path | None]:
        """Folder with a copy of the last checkpoint, gone afterwards; None if there is none."""
        base = self._latest()
        if base is None:
            yield None
            return
        with tempfile.TemporaryDirectory(prefix="icss-checkpoint-") as name:
            folder = Path(name)
            for address in self._storage.list(base):
                target = folder / address.removeprefix(f"{base}/")
                target.parent.mkdir(parents=True, exist_ok=True)
                self._storage.download(address, target)
            yield folder

    def is_finished(self) -> bool:
        """Whether the last checkpoint holds the finished model version; nothing is fetched but its marker."""
        base = self._latest()
        return base is not None and next(iter(self._storage.list(f"{base}/{MODEL_FOLDER}")), None) is not None

    def _latest(self) -> str | None:
        """Prefix of the last checkpoint."""
        markers = [address for address in self._storage.list(self._prefix) if _owner(_MARKER, address) >= 0]
        if not markers:
            return None
        marker = max(markers, key=lambda address: _owner(_MARKER, address))
        return f"{self._prefix}/{self._storage.read_bytes(marker).decode()}"

    def save(self, folder: Path, iteration: int) -> None:
        """Upload a checkpoint, make it the last one, and delete those before it."""
        name = f"checkpoint-{self._generation}-{iteration}"
        base, marker = f"{self._prefix}/{name}", f"{self._prefix}/latest-{self._generation}.txt"
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self._storage.upload(path, f"{base}/{path.relative_to(folder).as_posix()}")
        self._storage.write_bytes(marker, name.encode())
        for address in list(self._storage.list(self._prefix)):
            owner = max(_owner(_MARKER, address), _owner(_FOLDER, address))
            if address != marker and not address.startswith(f"{base}/") and owner <= self._generation:
                self._storage.delete(address)

    def delete(self) -> None:
        """Delete everything under the prefix."""
        for address in list(self._storage.list(self._prefix)):
            self._storage.delete(address)


def _owner(pattern: re.Pattern[str], address: str) -> int:
    """The generation of an owner in the address of its marker, or of a file of its checkpoint; else -1."""
    found = pattern.search(address)
    return -1 if found is None else int(found[1] or 0)
