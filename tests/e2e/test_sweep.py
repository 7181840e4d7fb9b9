"""Sweeps with every real part; the first is stopped in the middle and started again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from jobs import run_command, stop_when, submit

from services.tracking import PRETRAINING, SWEEPS, Tracking

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from services.local import LocalStack
    from services.tracking import RunRecord

pytestmark = pytest.mark.e2e

TABLE1 = ("tune_specs/icss_table1.yaml", "--scale", "smoke")
RANDOM = """
name: given-up
question: Is a weight given up that is behind after an image?
pairs: [{dataset: town, old: [road], new: building}]
variants:
  - {preset: icss, label: as it was, overrides: {head_fit.iterations: 0, optimisation.lr: 1.0e-9}}
  - preset: icss
    overrides: {optimisation.lr: 0.3}
    vary: {regularisers.distillation.weight: {loguniform: [0.1, 1]}}
search: {kind: random, samples: 2, seed: 5}
scheduler: {kind: asha, grace: 1, reduction: 2}
seeds: [0]
annotations: [30]
images: 2
control: false
pictures: 0
overrides: {optimisation.iterations: 4, crops.size: 64}
pretraining:
  preset: icss-paper
  encoder: tu-test_resnet
  crop: 64
  batch: 2
  workers: 0
  optimisation.iterations: 20
  optimisation.lr: 0.003
cpus: 1
"""
"""Such a learning rate only does harm: whoever leaves the network as it was is ahead."""
DONE = {"icss.status": "successful"}


def trials(stack: LocalStack) -> dict[str, RunRecord]:
    """The runs of the trials by the variant they belong to."""
    found = Tracking(stack.settings).find(SWEEPS, tags={"icss.kind": "trial"})
    return {record.tags["icss.variant"]: record for record in found}


@pytest.fixture(scope="module")
def swept(
    stack: LocalStack, town: str, job_process: Executor
) -> tuple[str, dict[str, RunRecord], dict[str, RunRecord]]:
    """What the second start prints, and the trials when the first was stopped and at the end."""
    sweep = (*TABLE1, "--dataset", f"town={town}")
    with submit(stack, "services.tune", *sweep) as job:
        ended = lambda: any(record.status == "FINISHED" for record in trials(stack).values())  # noqa: E731
        stop_when(stack, job, ended)
    before = trials(stack)
    printed = job_process.submit(run_command, "services.tune.__main__", *sweep).result()
    return printed, before, trials(stack)


def test_what_was_done_is_not_done_again(swept) -> None:
    _, before, after = swept
    assert set(after) == {"memory", "control", "icss", "icss-paper/baseline"}
    assert all(record.status == "FINISHED" for record in after.values())
    done = {variant: record for variant, record in before.items() if record.status == "FINISHED"}
    assert done
    assert len(done) < len(after), "stopped after everything was done: the test shows nothing"
    for variant, record in done.items():
        assert (after[variant].run_id, after[variant].ended) == (record.run_id, record.ended)


def test_the_answer_is_in_the_sweeps_run(stack, swept) -> None:
    tracking = Tracking(stack.settings)
    (parent,) = tracking.find(SWEEPS, tags={"icss.kind": "sweep"})
    assert parent.status == "FINISHED"
    assert {record.tags["mlflow.parentRunId"] for record in swept[2].values()} == {parent.run_id}
    table = tracking.read_bytes(parent.run_id, "table.md").decode()
    assert table in swept[0]
    for variant in swept[2]:
        assert f"\n| {variant} |" in table
    assert tracking.read_bytes(parent.run_id, "table.csv").count(b"\n") == 5
    assert tracking.read_bytes(parent.run_id, "pictures/town-road-building.png")[:4] == b"\x89PNG"


def test_a_trial_holds_its_sessions_metrics_and_map(stack, swept) -> None:
    tracking = Tracking(stack.settings)
    record = swept[2]["icss"]
    (session,) = tracking.read_json(record.run_id, "results.json")
    assert session["clicks"] == {"background": 30, "building": 30}
    assert session["iterations"] == 4
    assert list(session["rounds"]) == ["3"], "the fourth is the result"
    assert record.metrics["mean_iou"] == pytest.approx(session["last"]["mean"])
    assert record.params["preset.optimisation.iterations"] == "4"
    assert tracking.read_bytes(record.run_id, f"maps/{session['image']}.png")[:4] == b"\x89PNG"


def test_a_random_search_gives_up_what_is_behind(stack, town, swept, job_process, tmp_path) -> None:
    # the memory network is found again
    spec = tmp_path / "random.yaml"
    spec.write_text(RANDOM)
    tracking = Tracking(stack.settings)
    networks = {run.run_id for run in tracking.find(PRETRAINING, tags=DONE)}
    command = (str(spec), "--dataset", f"town={town}")
    job_process.submit(run_command, "services.tune.__main__", *command).result()
    assert {run.run_id for run in tracking.find(PRETRAINING, tags=DONE)} == networks
    (parent,) = (run for run in tracking.find(SWEEPS, tags={"icss.kind": "sweep"}) if run.name == "given-up")
    mine = tracking.find(SWEEPS, tags={"icss.kind": "trial", "mlflow.parentRunId": parent.run_id})
    ends: dict[str, list[tuple[str, str]]] = {}
    for run in mine:
        tags = run.tags
        ends.setdefault(tags["icss.variant"], []).append((tags["icss.status"], tags["icss.done"]))
    assert set(ends) == {"memory", "as it was", "icss"}
    assert ends["memory"] == ends["as it was"] == [("successful", "2")]
    assert len(ends["icss"]) == 2, "two draws"
    assert ("stopped", "1") in ends["icss"]
    table = tracking.read_bytes(parent.run_id, "table.md").decode()
    assert "stopped after 1 images" in table


def test_protocols_are_swept_too(stack, town, job_process) -> None:
    command = ("tune_specs/mib_table1.yaml", "--scale", "smoke", "--dataset", f"town={town}")
    printed = job_process.submit(run_command, "services.tune.__main__", *command).result()
    tracking = Tracking(stack.settings)
    sweeps = tracking.find(SWEEPS, tags={"icss.kind": "sweep"})
    (parent,) = (run for run in sweeps if run.name == "mib-table1")
    assert tracking.read_bytes(parent.run_id, "table.md").decode() in printed
    assert tracking.read_bytes(parent.run_id, "plot.png")[:4] == b"\x89PNG"
    assert tracking.read_bytes(parent.run_id, "pictures/town-town-overlapped.png")[:4] == b"\x89PNG"
    trainings = tracking.find(PRETRAINING, tags={"icss.model": "sweep-continual-town-tu-test_resnet"})
    by_preset = sorted(run.tags["icss.preset"] for run in trainings)
    assert by_preset == ["first-task", "mib-paper/ft", "mib-paper/mib"], "the first task is shared"
    mine = tracking.find(SWEEPS, tags={"icss.kind": "trial", "mlflow.parentRunId": parent.run_id})
    assert {(run.tags["icss.status"], run.tags["icss.done"]) for run in mine} == {("successful", "2")}
    (history,) = tracking.read_json(mine[0].run_id, "results.json")
    assert list(history["iou"][-1]) == ["background", "road", "building"]
