import io

import numpy as np
import pytest
from rich.console import Console

from icss_core.clicks.click_set import ClickSet
from services.demo.report import DemoReport, SessionSummary, findings, score_table, scores_of
from services.demo.scenes import TrueScene
from services.demo.session import SessionResult

CLASSES = ["background", "road", "building"]
TRUTH = np.array([[0, 0, 1, 1, 2, 2, 2, 255]], np.uint8)


@pytest.fixture
def results():
    scene = TrueScene("plot", "s3://icss/plot.tif", np.zeros((1, 8, 3), np.uint8), TRUTH, georeferenced=True)
    maps = {
        "memory": np.array([[0, 0, 1, 1, 0, 0, 0, 0]], np.uint8),
        "updated": np.array([[0, 0, 1, 0, 2, 2, 2, 2]], np.uint8),
        "control": np.array([[0, 0, 1, 1, 2, 2, 2, 2]], np.uint8),
    }
    return [SessionResult(scene, ClickSet.empty(), None, 1.0, 1.0, maps)]


@pytest.fixture
def report(results):
    return DemoReport(
        dataset="plots",
        manifest_hash="0" * 64,
        classes=CLASSES,
        old_classes=["road"],
        new_class="building",
        preset="icss",
        overrides={},
        model="plots",
        versions={"memory": 1, "control": 1},
        sessions={
            "plot": SessionSummary(
                clicks={"building": 3},
                update="0" * 32,
                version=2,
                update_seconds=1.0,
                prediction_seconds=1.0,
                forgetting=None,
                warnings=[],
            )
        },
        scores=scores_of(results, CLASSES, new="building"),
        seconds={},
        seed=0,
        code_version="test",
    )


def test_scores_ignore_pixels_without_truth(report):
    updated = report.scores["updated"].classes
    assert updated["building"].iou_image_wise == 1.0
    assert updated["road"].iou_image_wise == 0.5
    assert report.scores["memory"].classes["building"].iou_image_wise == 0.0
    assert report.scores["control"].mean_iou_image_wise.all_with_background == 1.0


def test_table_has_every_class_and_mean_of_every_network(report):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(score_table(report))
    text = console.export_text()
    for part in (
        "memory",
        "updated",
        "control",
        "building (new)",
        "mean of old classes",
        "mean of all classes",
    ):
        assert part in text
    assert "50.0" in text
    assert "image-wise over 1 image: plot" in text


def test_findings_say_gain_loss_and_distance_to_the_control(report):
    assert findings(report) == [
        "building: from nothing to 100.0 % IoU",
        "road: 100.0 % before, 50.0 % after",
        "all classes: 72 % of the control's mean IoU",
    ]


def test_report_round_trips_as_json(report):
    assert DemoReport.model_validate_json(report.model_dump_json()) == report
