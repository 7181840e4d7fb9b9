from __future__ import annotations

import math

import pytest

from services.errors import TrackingError
from services.training.callback import MlflowCallback, combined, named_scores
from services.training.report import IterationPoint, WorkerReport


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
    scores = named_scores({"background": 0.9, "road": 0.5, "water": math.nan})
    assert scores == {
        "val_iou/background": 0.9,
        "val_iou/road": 0.5,
        "val_miou": pytest.approx(0.7),
        "val_miou_of_interest": 0.5,
    }
    assert named_scores({"background": math.nan, "road": math.nan}) == {}


def test_class_names_become_metric_names() -> None:
    assert set(named_scores({"background": 1.0, "Straße (neu)": 0.5})) == {
        "val_iou/background",
        "val_iou/Stra_e _neu_",
        "val_miou",
        "val_miou_of_interest",
    }


class Recorder:
    """A tracking server that is away for a while, which a real one cannot be made to be at a given moment."""

    def __init__(self, *, failures: int) -> None:
        self.failures = failures
        self.steps: list[int] = []
        self.tags: dict[str, str] = {}
        self.texts: dict[str, str] = {}

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
    assert recorder.tags == {"icss.failures": "1", "icss.resumed_at": "1", "icss.checkpoint_step": "2"}
    assert recorder.texts == {"failures/1.txt": "worker 1: killed"}
    assert "iteration 2/3" in capsys.readouterr().out
