from __future__ import annotations

import json

import numpy as np
import pytest

from icss_core.errors import InvalidParameterError
from icss_core.metrics import ConfusionAccumulator, SegmentationReport, segmentation_report

NAMES = ("background", "road", "water", "building")


def accumulated() -> ConfusionAccumulator:
    """Image a lacks water, image b lacks building (which is predicted there all the same)."""
    confusion = ConfusionAccumulator(len(NAMES))
    confusion.update(np.array([0, 0, 0, 1, 1, 3]), np.array([0, 0, 1, 1, 1, 3]), image="a")
    confusion.update(np.array([0, 3, 2, 2]), np.array([0, 0, 2, 2]), image="b")
    return confusion


def test_every_mean_is_the_one_its_name_says():
    report = segmentation_report(accumulated(), class_names=NAMES, new_classes=[3])
    # a: background 2/3, road 2/3, building 1; b: background 1/2, water 1
    wise = report.mean_iou_image_wise
    assert wise.all_with_background == pytest.approx(((2 / 3 + 2 / 3 + 1) / 3 + (1 / 2 + 1) / 2) / 2)
    assert wise.all_without_background == pytest.approx(((2 / 3 + 1) / 2 + 1) / 2)
    assert wise.old_with_background == pytest.approx(((2 / 3 + 2 / 3) / 2 + (1 / 2 + 1) / 2) / 2)
    assert wise.old_without_background == pytest.approx((2 / 3 + 1) / 2)
    assert wise.new == pytest.approx(1)  # image b has no building: it is not an image of this mean
    # pooled: background 3/5, road 2/3, water 1, building 1/2
    pooled = report.mean_iou_pooled
    assert pooled.all_with_background == pytest.approx((3 / 5 + 2 / 3 + 1 + 1 / 2) / 4)
    assert pooled.all_without_background == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert pooled.old_with_background == pytest.approx((3 / 5 + 2 / 3 + 1) / 3)
    assert pooled.old_without_background == pytest.approx((2 / 3 + 1) / 2)
    assert pooled.new == pytest.approx(1 / 2)
    assert report.accuracy_pooled == pytest.approx(8 / 10)
    assert report.accuracy_image_wise == pytest.approx((5 / 6 + 3 / 4) / 2)


def test_classes_and_images_are_listed_by_name():
    report = segmentation_report(accumulated(), class_names=NAMES, new_classes=[3])
    building = report.classes["building"]
    assert (building.pixels, building.iou_pooled, building.iou_image_wise) == (1, 0.5, 1.0)
    assert (building.precision_pooled, building.recall_pooled) == (0.5, 1.0)
    assert report.iou_of_images["b"] == {"background": 0.5, "road": None, "water": 1.0, "building": None}
    assert report.mean_iou_of_images["b"] == pytest.approx(0.75)
    assert (report.images, report.pixels, report.new_classes) == (2, 10, ("building",))


def test_report_survives_json_and_prints_all_it_has():
    report = segmentation_report(accumulated(), class_names=NAMES, new_classes=[3])
    assert SegmentationReport.model_validate(json.loads(report.model_dump_json())) == report
    text = str(report)
    for word in ("building (new)", "all without background", "image-wise", "accuracy", "80.0"):
        assert word in text


def test_empty_report_has_no_scores():
    report = segmentation_report(ConfusionAccumulator(2), class_names=("background", "road"))
    assert report.mean_iou_pooled.all_with_background is None
    assert report.mean_iou_image_wise.new is None
    assert report.accuracy_image_wise is None
    assert "-" in str(report)


def test_wrong_arguments_are_named():
    with pytest.raises(InvalidParameterError, match="3 class names for 4"):
        segmentation_report(accumulated(), class_names=NAMES[:3])
    with pytest.raises(InvalidParameterError, match="new classes"):
        segmentation_report(accumulated(), class_names=NAMES, new_classes=[0])
