"""Ranks together learn what one process learns from all their samples, and report at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from services.training.in_process import OnlyRank
from services.training.report import WorkerReport
from tests.services.training import ranks


def expected(both: bool) -> dict[str, list[float]]:
    """Gradients of plain PyTorch on the samples of all ranks at once."""
    module = ranks.TwoBranches()
    module(ranks.samples(), both).backward()
    return ranks.gradients(module)


def same(found: dict[str, list[float]], wanted: dict[str, list[float]]) -> bool:
    return all(found[name] == pytest.approx(values, rel=1e-5) for name, values in wanted.items())


@pytest.fixture(scope="module")
def ran(stack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    subprocess.run(
        [sys.executable, ranks.__file__, str(folder)],
        check=True,
        timeout=240,
        env={**stack.environment(), "RAY_TRAIN_ENABLE_PRINT_PATCH": "0"},
        capture_output=True,
    )
    return SimpleNamespace(
        ranks=[json.loads((folder / f"rank-{number}.json").read_text()) for number in (0, 1)],
        reports=[json.loads(line) for line in (folder / "reports.jsonl").read_text().splitlines()],
    )


def test_gradients_are_those_of_all_samples_on_every_rank(ran):
    for one in ran.ranks:
        assert one["world"] == 2
        for found, both in zip(one["gradients"], (True, False, True), strict=True):
            assert same(found, expected(both))


def test_no_rank_goes_on_before_all_have_reported(ran):
    first, second = ran.ranks
    assert second["asked"] - first["asked"] > 0.5, "the second is late on purpose"
    assert first["went_on"] >= second["asked"]
    assert [sorted(seconds) for seconds in ran.reports] == [[0.0, 1.0]], "one report of both, once"


def test_the_only_rank_learns_from_its_samples_and_reports_alone():
    told = []
    callback = SimpleNamespace(after_report=lambda _, metrics, checkpoint: told.append((metrics, checkpoint)))
    rank = OnlyRank(callback)
    module = rank.distributed(ranks.TwoBranches(), leaves_gradients_out=True)
    module(ranks.samples().to(rank.device), both=True).backward()
    assert (rank.number, rank.world, rank.device) == (0, 1, torch.device("cpu"))
    assert same(ranks.gradients(module), expected(both=True))
    rank.report(WorkerReport(iteration=1, iterations=2, seconds=3.0))
    ((metrics, checkpoint),) = told
    assert [WorkerReport.model_validate(one).seconds for one in metrics] == [3.0]
    assert checkpoint is None
