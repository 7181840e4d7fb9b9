from __future__ import annotations

import json
import math
import re

import pytest

from services.errors import TrackingError
from services.training.callback import MlflowCallback, combined, legend, scores_of
from services.training.report import IterationPoint, WorkerReport
from services.training_progress import TrainingLine


def point(iteration: int, loss: float, lr: float, seconds: float, wait: float, **terms: float):
    terms = terms or {"cross_entropy": loss}
    return IterationPoint(
        iteration=iteration, loss=loss, terms=terms, lr=lr, seconds=seconds, input_wait=wait, samples=4
    )


def test_points_of_all_workers_become_one_line_an_iteration() -> None:
    first = [point(1, 1.0, 0.1, 2.0, 0.5), point(2, 0.5, 0.05, 1.0, 0.0, cross_entropy=0.2, lwf=0.3)]
    second = [point(1, 3.0, 0.1, 1.0, 0.5), point(2, 0.7, 0.05, 1.0, 1.0, cross_entropy=0.4, lwf=0.3)]
    found = combined([first, second])
    assert found == [
        (1, {"loss": 2.0, "lr": 0.1, "samples_per_second": 4.0, "input_wait_share": 0.375}),
        (
            2,
            {
                "loss": 0.6,
                "lr": 0.05,
                "samples_per_second": 8.0,
                "input_wait_share": 0.5,
                "loss/cross_entropy": pytest.approx(0.3),
                "loss/lwf": pytest.approx(0.3),
            },
        ),
    ]
    assert combined([[], []]) == []


def test_classes_that_do_not_occur_count_in_no_mean() -> None:
    scores = scores_of({"background": 0.9, "road": 0.5, "water": math.nan})
    assert scores == {
        "val_iou/0": 0.9,
        "val_iou/1": 0.5,
        "val_miou": pytest.approx(0.7),
        "val_miou_of_interest": 0.5,
    }
    assert scores_of({"background": math.nan, "road": math.nan}) == {}


def test_names_of_classes_are_no_keys_but_in_the_legend() -> None:
    """Two of these names would have become one metric."""
    validation = {"background": 1.0, "house (roof)": 0.5, "house [roof]": 0.25, "建物": 0.0}
    scores = scores_of(validation)
    assert [scores[f"val_iou/{index}"] for index in range(4)] == list(validation.values())
    assert all(re.fullmatch(r"[\w./ -]+", key, re.ASCII) for key in scores)
    assert json.loads(legend(validation)) == {str(index): name for index, name in enumerate(validation)}


class Recorder:
    """A tracking server that is away for a while, which a real one cannot be made to be at a given moment."""

    def __init__(self, *, failures: int) -> None:
        self.failures = failures
        self.steps: list[int] = []
        self.tags: dict[str, str] = {}
        self.texts: dict[str, str] = {}

    def metric_history(self, run_id, key) -> list[tuple[int, float]]:
        return [(step, 0.0) for step in self.steps]

    def log_metrics(self, run_id, points) -> None:
        if self.failures:
            self.failures -= 1
            raise TrackingError("away")
        self.steps += [step for step, _, _ in points]

    def set_tags(self, run_id, tags) -> None:
        self.tags |= tags

    def write_text(self, run_id, path, text) -> None:
        self.texts[path] = text


def report(iteration: int, **more):
    one = WorkerReport(
        iteration=iteration,
        iterations=3,
        seconds=float(iteration),
        points=[point(iteration, 1.0, 0.1, 1.0, 0.0)],
        **more,
    )
    return [one.model_dump()] * 2


def test_a_tracking_server_that_is_away_ends_no_training_and_loses_nothing(capsys) -> None:
    callback, recorder = MlflowCallback("run"), Recorder(failures=1)
    callback._tracking = recorder  # type: ignore[assignment]
    callback.after_report(None, report(1), None)
    assert recorder.steps == []
    callback.after_exception(None, {1: RuntimeError("killed")})
    callback.after_report(None, report(2, resumed_at=1, checkpoint=True), None)
    assert recorder.steps == [1, 2]
    assert recorder.tags == {"icss.failures": "1", "icss.resumed_at": "1", "icss.checkpoint_iteration": "2"}
    assert recorder.texts == {"failures/1.txt": "worker 1: killed"}
    said = [TrainingLine.read(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one.iteration, one.iterations, one.loss) for one in said if one] == [(1, 3, 1.0), (2, 3, 1.0)]


def test_a_validation_leaves_its_legend_once_and_names_in_the_log(capsys) -> None:
    callback, recorder = MlflowCallback("run"), Recorder(failures=0)
    callback._tracking = recorder  # type: ignore[assignment]
    validation = {"background": 0.9, "建物": 0.5}
    callback.after_report(None, report(1, validation=validation), None)
    assert json.loads(recorder.texts.pop("classes.json")) == {"0": "background", "1": "建物"}
    said = TrainingLine.read(capsys.readouterr().out)
    assert said is not None
    assert (said.scores["val_iou/建物"], said.scores["val_miou"]) == (0.5, 0.7)
    callback.after_report(None, report(2, validation=validation), None)
    assert recorder.texts == {}
