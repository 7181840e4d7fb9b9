"""The only rank of a training learns and reports alone; several do so in `tests/e2e/test_ranks.py`."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from services.training.in_process import OnlyRank
from services.training.report import WorkerReport


def test_the_only_rank_learns_from_its_samples_and_reports_alone():
    told = []
    callback = SimpleNamespace(after_report=lambda _, metrics, checkpoint: told.append((metrics, checkpoint)))
    rank = OnlyRank(callback)
    module = rank.distributed(nn.Linear(3, 1, bias=False), leaves_gradients_out=True)
    samples = torch.randn(8, 3)
    module(samples.to(rank.device)).sum().backward()
    assert (rank.number, rank.world, rank.device) == (0, 1, torch.device("cpu"))
    torch.testing.assert_close(module.weight.grad, samples.sum(0, keepdim=True))
    rank.report(WorkerReport(iteration=1, iterations=2, seconds=3.0))
    ((metrics, checkpoint),) = told
    assert [WorkerReport.model_validate(one).seconds for one in metrics] == [3.0]
    assert checkpoint is None
