"""What of a sweep's trials goes into its pictures."""

from types import SimpleNamespace

import pytest

from services.errors import TrackingError
from services.tune import write_answer as module
from services.tune.answer import Answer
from services.tune.continual.run import protocol_run_of
from services.tune.interactive.trial import InteractiveTrial
from services.tune.kinds import SWEEP_KINDS

SPEC = SimpleNamespace(question="which?", plot=None, pictures=2)


class Written(dict):
    """Stands for MLflow: keeps what is written by its path."""

    def write_text(self, run_id, path, content):
        self[path] = content

    write_json = write_bytes = write_text


def trial(variant: str, annotations: int, **changes) -> InteractiveTrial:
    return InteractiveTrial(
        case="town: road + building", variant=variant, dataset="s3://d/dataset.yaml", manifest_hash="0",
        old=("road",), new="building", memory=("m", 1), annotations=annotations,
        **{"pictures": 2, **changes},
    )  # fmt: skip


def test_pictures_show_the_trial_with_the_most_clicks_of_each_variant(monkeypatch):
    shown = {}

    def draw(tracking, columns, dataset, names, *, limit, storage):
        shown.update(columns=columns, dataset=dataset, names=names, limit=limit)
        return b"png"

    monkeypatch.setattr(module, "maps_picture", draw)
    monkeypatch.setattr(module, "Storage", lambda settings: None)
    monkeypatch.setattr(module, "read_dataset", lambda address, storage: address)
    kind = SWEEP_KINDS["interactive"]
    trials = [
        trial("a", 10), trial("b", 50), trial("a", 100), trial("a", 30), trial("b", 300, seed=1, pictures=0)
    ]  # fmt: skip
    results = {one.trial_id: [] for one in trials}
    runs = {one.trial_id: f"{one.variant}-{one.annotations}" for one in trials}
    answer = Answer(trials=trials, results=results, runs=runs, notes=())
    written = Written()
    assert list(module.write_answer(kind, written, "parent", SPEC, answer, None)) == []
    assert shown == {
        "columns": {"a": "a-100", "b": "b-50"},
        "dataset": "s3://d/dataset.yaml",
        "names": ("road", "building"),
        "limit": 2,
    }
    assert set(written) == {
        "table.md", "table.csv", "trials.json", "pictures/town-road-building.png"
    }, "without a row there is no plot"  # fmt: skip


def test_maps_of_a_continual_trial_are_in_the_run_of_its_protocol():
    records = {
        "trial": SimpleNamespace(tags={"icss.protocol_run_id": "protocol"}),
        "old": SimpleNamespace(tags={}),
    }
    assert protocol_run_of(records, "trial") == "protocol"
    for run_id in ("old", "unknown"):
        with pytest.raises(TrackingError, match=f"trial {run_id} does not say"):
            protocol_run_of(records, run_id)
