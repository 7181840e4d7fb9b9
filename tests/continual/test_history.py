from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from icss_core.continual import TaskHistory
from icss_core.metrics import ConfusionAccumulator, segmentation_report

GROUPS = (("road", "water"), ("tree",), ("roof",))


def history(*rows: tuple[float | None, ...]) -> TaskHistory:
    names = ["background", "road", "water", "tree", "roof"]
    return TaskHistory(
        groups=GROUPS, iou=tuple(dict(zip(names[: len(row)], row, strict=True)) for row in rows)
    )


THREE = history((0.9, 0.8, 0.6), (0.8, 0.85, 0.4, 0.5), (0.7, 0.75, 0.3, None, 0.2))


def test_forgetting_is_the_best_before_less_the_last():
    assert THREE.forgetting == {"road": pytest.approx(0.1), "water": pytest.approx(0.3), "tree": None}
    assert THREE.mean_forgetting == pytest.approx(0.2)
    assert history((0.9, 0.8, 0.6)).forgetting == {}
    assert history((0.9, 0.8, 0.6)).mean_forgetting is None


def test_means_are_those_of_their_classes():
    first, second, third = THREE.means
    assert first.old_without_background is None
    assert first.new == pytest.approx(0.7)
    assert second.all_without_background == pytest.approx((0.85 + 0.4 + 0.5) / 3)
    assert second.all_with_background == pytest.approx((0.8 + 0.85 + 0.4 + 0.5) / 4)
    assert second.old_with_background == pytest.approx((0.8 + 0.85 + 0.4) / 3)
    assert second.groups == pytest.approx((0.625, 0.5))
    assert third.groups == (pytest.approx(0.525), None, pytest.approx(0.2))
    assert third.old_without_background == pytest.approx(0.525), "a class without truth is left out"


def test_tasks_are_added_from_reports():
    rng = np.random.default_rng(0)
    grown, last = TaskHistory.start(GROUPS), None
    for n_classes in (3, 4, 5):
        confusion = ConfusionAccumulator(n_classes)
        confusion.update(*rng.integers(0, n_classes, (2, 50, 50)), image="a")
        names = ["background", *(name for group in GROUPS for name in group)][:n_classes]
        last = segmentation_report(confusion, class_names=names, new_classes=[n_classes - 1])
        grown = grown.after(last)
    assert grown.means[-1].all_with_background == pytest.approx(last.mean_iou_pooled.all_with_background)
    assert grown.means[-1].old_without_background == pytest.approx(
        last.mean_iou_pooled.old_without_background
    )
    assert TaskHistory.model_validate_json(grown.model_dump_json()) == grown


def test_the_table_has_a_row_a_task_and_one_for_what_was_forgotten():
    rows = [
        line.strip("| ").split(" | ") for line in THREE.to_markdown().splitlines() if line.startswith("|")
    ]
    head, _, *tasks, forgotten = rows
    assert head[:6] == ["after", "background", "road", "water", "tree", "roof"]
    assert [row[0] for row in tasks] == ["task 0", "task 1", "task 2"]
    assert all(len(row) == len(head) for row in (*tasks, forgotten))
    assert dict(zip(head, tasks[2], strict=True))["tree"] == "-"
    assert dict(zip(head, tasks[1], strict=True))["all"] == "58.3"
    found = dict(zip(head, forgotten, strict=True))
    assert (found["road"], found["water"], found["all"]) == ("10.0", "30.0", "20.0")


def test_a_task_with_other_classes_is_refused():
    with pytest.raises(ValidationError, match="after task 0 the classes are"):
        history((0.9, 0.8))
