"""A class from clicks on several images, by two workers of Ray Train.

What Ray Train does not change is tested without it (`tests/services/updating`), and that jobs of all kinds
outlive their workers in `test_pretraining.py`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from jobs import run_command
from tiny_model import SHORT, building_clicks, write_scene, write_tiny_model

from icss_core.networks import load_model
from services.ownership import STATUS
from services.registry import MEMORY, UPDATED, Registry
from services.storage import Storage
from services.tracking import PRETRAINING, UPDATES, Tracking
from services.training_progress import RegisteredLine

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from services.local import LocalStack

pytestmark = pytest.mark.e2e

MODEL = "updating-town"
ITERATIONS = 12


def test_two_workers_learn_one_network_once(stack: LocalStack, job_process: Executor, tmp_path: Path) -> None:
    settings = stack.settings
    storage, registry, tracking = Storage(settings), Registry(settings), Tracking(settings)
    run = tracking.create_run(PRETRAINING, name=MODEL, tags={})
    registry.set_alias(
        MODEL, MEMORY, registry.register(MODEL, write_tiny_model(tmp_path / "model"), run_id=run)
    )
    base = f"{settings.data_prefix}/e2e-updating"
    command = ["services.updating.__main__", "--model", MODEL, "--new-class", "building", "--crs", "pixel"]
    for name, height in (("a", 96), ("b", 128), ("context/c", 160)):
        image = f"{base}/{name}.tif"
        storage.upload(write_scene(tmp_path / "scene.tif", height=height), image)
        if "/" not in name:
            clicks = f"{base}/{name}.geojson"
            storage.write_bytes(clicks, json.dumps(building_clicks()).encode())
            command += ["--clicks", f"{image}={clicks}"]
    quick = {**SHORT, "optimisation.iterations": ITERATIONS, "hypercolumn.iterations": 5}
    command += [
        *("--context", f"{base}/context/", "--workers", "2", "--checkpoint-every", "10"),
        *("--overrides", json.dumps(quick)),
    ]
    said = job_process.submit(run_command, *command).result()
    line = RegisteredLine.read(said.strip().splitlines()[-1])
    assert line is not None, said
    assert (line.model, line.version) == (MODEL, 2)
    assert registry.aliases(MODEL) == {MEMORY: 1, UPDATED: 2}
    (record,) = tracking.find(UPDATES, tags={"icss.model": MODEL})
    assert record.tags[STATUS] == "successful"
    history = tracking.metric_history(record.run_id, "loss")
    assert [iteration for iteration, _ in history] == list(range(1, ITERATIONS + 1)), "each once"
    _, card = load_model(registry.fetch(MODEL, 2))
    assert card.label_space.names == ("background", "road", "building")
    findings = tracking.read_json(record.run_id, "findings.json")
    assert findings["elsewhere"]["images"], "what nobody clicked is judged"
