"""Ranks of Ray Train together learn what one process learns from all their samples, and report together."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from jobs import in_cluster
from ranks import TwoBranches, gradients, samples, train

pytestmark = pytest.mark.e2e


def expected(both: bool) -> dict[str, list[float]]:
    """Gradients of plain PyTorch on the samples of all ranks at once."""
    module = TwoBranches()
    module(samples(), both).backward()
    return gradients(module)


def same(found: dict[str, list[float]], wanted: dict[str, list[float]]) -> bool:
    return all(found[name] == pytest.approx(values, rel=1e-5) for name, values in wanted.items())


@pytest.fixture(scope="module")
def ran(job_process, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    job_process.submit(in_cluster, train, str(folder)).result()
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
