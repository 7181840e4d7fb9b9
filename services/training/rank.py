"""Where a rank of a training runs, whoever started it: a Ray Train worker, or the job's own process."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import ray.train
import ray.train.torch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    import torch
    from torch import nn


class Rank(Protocol):
    """What a training asks of the process that it runs in."""

    @property
    def number(self) -> int:
        """From 0."""

    @property
    def world(self) -> int:
        """How many ranks there are."""

    @property
    def device(self) -> torch.device:
        """Where this one computes."""

    def distributed(self, network: nn.Module) -> nn.Module:
        """The network with its gradients averaged over all ranks."""

    def checkpoint(self) -> AbstractContextManager[Path | None]:
        """Folder of the checkpoint that the training goes on from, if there is one."""

    def report(self, metrics: dict[str, Any], folder: Path | None) -> None:
        """Tell the job how far this rank is, with a checkpoint or without; all ranks do at the same step."""


class RayRank:
    """A worker of Ray Train."""

    def __init__(self) -> None:
        context = ray.train.get_context()
        self.number: int = context.get_world_rank()
        self.world: int = context.get_world_size()
        self.device = ray.train.torch.get_device()

    def distributed(self, network: nn.Module) -> nn.Module:
        """See `Rank`."""
        return ray.train.torch.prepare_model(network)

    @contextmanager
    def checkpoint(self) -> Iterator[Path | None]:
        """See `Rank`; Ray gives the last one of the job."""
        found = ray.train.get_checkpoint()
        if found is None:
            yield None
        else:
            with found.as_directory() as folder:
                yield Path(folder)

    def report(self, metrics: dict[str, Any], folder: Path | None) -> None:
        """See `Rank`; what the controller does with it is in `callback`."""
        if folder is None:
            ray.train.report(metrics)
        else:
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
