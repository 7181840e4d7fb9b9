"""Ranks: the processes of a data-parallel training, as a Ray Train worker or as the job's own process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import ray.train
import ray.train.torch

if TYPE_CHECKING:
    import torch
    from torch import nn

    from services.training.report import WorkerReport


class Rank(Protocol):
    """What a training needs of the process that it runs in."""

    @property
    def number(self) -> int:
        """From 0."""

    @property
    def world(self) -> int:
        """How many ranks there are."""

    @property
    def device(self) -> torch.device:
        """Where this one computes."""

    def distributed(self, module: nn.Module, *, leaves_gradients_out: bool) -> nn.Module:
        """The module with its gradients averaged over all ranks.

        Args:
            module: its forward pass gives the loss.
            leaves_gradients_out: whether some iterations give no gradient to some parameters.
        """

    def report(self, report: WorkerReport) -> None:
        """Tell the job how far this rank is; none continues before all have reported the same iteration."""


class RayRank:
    """A worker of Ray Train."""

    def __init__(self) -> None:
        context = ray.train.get_context()
        self.number: int = context.get_world_rank()
        self.world: int = context.get_world_size()
        self.device = ray.train.torch.get_device()

    def distributed(self, module: nn.Module, *, leaves_gradients_out: bool) -> nn.Module:
        """See `Rank`."""
        more = {"find_unused_parameters": True} if leaves_gradients_out and self.world > 1 else {}
        return ray.train.torch.prepare_model(module, parallel_strategy_kwargs=more)

    def report(self, report: WorkerReport) -> None:
        """See `Rank`; what the controller does with it is in `callback`."""
        ray.train.report(report.model_dump())
