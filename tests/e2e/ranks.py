"""Two ranks of Ray Train on a small network, for `test_ranks.py`.

Each rank writes what it got to `FOLDER/rank-N.json`, the controller the reports to `FOLDER/reports.jsonl`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import ray.train
import torch
from ray import cloudpickle
from ray.train.torch import TorchConfig, TorchTrainer
from torch import nn

from services.training.rank import RayRank
from services.training.report import WorkerReport

ROWS = 4
"""Samples of each rank."""


class TwoBranches(nn.Module):
    """A loss with a second branch that only some iterations use, as the phases of a learner do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.always, self.sometimes = nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, values: torch.Tensor, both: bool) -> torch.Tensor:
        scores = self.always(values) + (self.sometimes(values) if both else 0)
        return scores.square().mean()


def samples() -> torch.Tensor:
    """Those of both ranks together, (2 * ROWS, 3)."""
    return torch.randn(2 * ROWS, 3, generator=torch.Generator().manual_seed(1))


def gradients(module: nn.Module) -> dict[str, list[float]]:
    """Of every parameter that has one, by name."""
    return {
        name.removeprefix("module."): one.grad.flatten().tolist()
        for name, one in module.named_parameters()
        if one.grad is not None
    }


def work(config: dict[str, str]) -> None:
    """What a rank does."""
    rank = RayRank()
    module = rank.distributed(TwoBranches(), leaves_gradients_out=True)
    mine = samples()[rank.number * ROWS :][:ROWS].to(rank.device)
    of_iterations = []
    for both in (True, False, True):
        module.zero_grad(set_to_none=True)
        module(mine, both).backward()
        of_iterations.append(gradients(module))
    if rank.number == 1:
        time.sleep(1)
    asked = time.time()
    rank.report(WorkerReport(iteration=3, iterations=3, seconds=float(rank.number)))
    kept = {"world": rank.world, "gradients": of_iterations, "asked": asked, "went_on": time.time()}
    Path(config["folder"], f"rank-{rank.number}.json").write_text(json.dumps(kept), encoding="utf-8")


class Reports(ray.train.UserCallback):
    """Keeps what the controller hears."""

    def __init__(self, path: str) -> None:
        self._path = path

    def after_report(self, run_context: object, metrics: list[dict[str, object]], checkpoint: object) -> None:
        with Path(self._path).open("a", encoding="utf-8") as file:
            file.write(json.dumps([one["seconds"] for one in metrics]) + "\n")


def train(folder: str) -> None:
    """Train on two workers of the cluster that this process is connected to."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not find the tests
    TorchTrainer(
        work,
        train_loop_config={"folder": folder},
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ray.train.ScalingConfig(num_workers=2),
        run_config=ray.train.RunConfig(
            name="ranks", storage_path=folder, callbacks=[Reports(f"{folder}/reports.jsonl")]
        ),
    ).fit()
