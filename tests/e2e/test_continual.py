"""A protocol of two tasks with every real part: interrupted between them, and asked for again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from jobs import in_cluster, run_command

from icss_core.continual import TaskHistory, read_protocol
from icss_core.methods import get_dense_preset
from icss_core.networks.model_folder import load_artefact, load_model
from icss_core.regularisation.importance import IMPORTANCES_ARTEFACT, importances_of
from services.continual import ProtocolRun
from services.continual.run import run_protocol
from services.registry import Registry
from services.tracking import PRETRAINING, PROTOCOLS, Tracking

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from services.local import LocalStack
    from services.settings import Settings
    from services.tracking import RunRecord

pytestmark = pytest.mark.e2e

MODEL = "protocol-town"
PRESET = "mib-paper/ewc"
"""Gathers importances; with MiB's terms added, the memory network is asked too."""
NUMBERS = {
    "crop": 64,
    "batch": 2,
    "epochs": None,
    "optimisation.iterations": 4,
    "area": None,
    "cross_entropy.kind": "unbiased",
    "regularisers.distillation.weight": 10,
}


@pytest.fixture(scope="module")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("protocol") / "roads.yaml"
    file.write_text("name: roads\ngroups:\n  - [road]\n  - [building]\n")
    return file


def runs(stack: LocalStack) -> list[RunRecord]:
    """Trainings of the model that have ended well."""
    found = Tracking(stack.settings).find(PRETRAINING, tags={"icss.model": MODEL})
    return [record for record in found if record.status == "FINISHED"]


def run_one_task(asked: ProtocolRun, settings: Settings) -> None:
    """A protocol that is interrupted after its first task."""

    def interrupt(history: TaskHistory) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_protocol(asked, settings, after_task=interrupt)


@pytest.fixture(scope="module")
def resumed(
    stack: LocalStack, town: str, protocol: Path, job_process: Executor
) -> tuple[str, list[RunRecord]]:
    """What the second start prints, and what was trained when the protocol was interrupted before."""
    asked = ProtocolRun(
        dataset=town,
        model=MODEL,
        protocol=read_protocol(str(protocol)),
        preset=get_dense_preset(PRESET, NUMBERS),
        decoder="linknet",
        encoder="tu-test_resnet",
        workers=0,
    )
    job_process.submit(in_cluster, run_one_task, asked, stack.settings).result()
    before = runs(stack)
    command = [
        "services.continual.__main__",
        "--dataset",
        town,
        "--model",
        MODEL,
        "--protocol",
        str(protocol),
    ]
    command += ["--preset", PRESET, "--overrides", json.dumps(NUMBERS)]
    command += ["--decoder", "linknet", "--encoder", "tu-test_resnet", "--workers", "0"]
    return job_process.submit(run_command, *command).result(), before


def test_an_interrupted_protocol_goes_on_with_the_task_it_was_in(stack, resumed) -> None:
    log, before = resumed
    assert len(before) == 1
    after = runs(stack)
    assert [record.tags["icss.version"] for record in after] == ["1", "2"]
    assert (after[0].run_id, after[0].ended) == (before[0].run_id, before[0].ended)
    assert "versions [1, 2]" in log


def test_the_tasks_versions_are_a_chain_that_grows(stack, resumed) -> None:
    del resumed
    registry = Registry(stack.settings)
    first, second = (registry.resolve(MODEL, number) for number in (1, 2))
    assert (first.parent, second.parent) == (None, 1)
    assert first.card.label_space.names == ("background", "road")
    assert second.card.label_space.names == ("background", "road", "building")
    assert (first.card.method, second.card.preset) == ("first-task", PRESET)
    network, card = load_model(registry.fetch(MODEL, 2))
    assert network.n_classes == 3
    assert card.normalisation == first.card.normalisation


def test_the_matrix_is_printed_and_kept(stack, resumed) -> None:
    (record,) = Tracking(stack.settings).find(PROTOCOLS, tags={"icss.model": MODEL, "icss.preset": PRESET})
    tracking = Tracking(stack.settings)
    history = TaskHistory.model_validate(tracking.read_json(record.run_id, "history.json"))
    assert [list(scores) for scores in history.iou] == [
        ["background", "road"],
        ["background", "road", "building"],
    ]
    assert history.to_markdown() in resumed[0].replace("\r", "")
    assert record.status == "FINISHED"
    assert record.metrics["new"] == pytest.approx(history.means[-1].new)
    split = tracking.read_json(record.run_id, "split.json")
    assert split["classes"] == [["road"], ["building"]]


def test_importances_are_kept_for_the_next_task(stack, resumed) -> None:
    del resumed
    registry = Registry(stack.settings)
    for version, n_classes in ((1, 2), (2, 3)):
        importances = importances_of(load_artefact(registry.fetch(MODEL, version), IMPORTANCES_ARTEFACT))
        assert len(importances["fisher"]["body.segmentation_head.0.bias"]) == n_classes
    trained = runs(stack)[-1]
    assert trained.metrics["loss"] > 0
