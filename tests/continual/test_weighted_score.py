"""The score of a challenge, against its definition in plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from icss_core.continual import IncrementalProtocol, TaskHistory, WeightedScore, split_tasks
from icss_core.dataset import BACKGROUND_CLASS, Dataset, Scene
from icss_core.errors import InvalidParameterError
from icss_core.labels import ClassInfo
from icss_core.metrics import ConfusionAccumulator, segmentation_report

NAMES = ("background", "tree", "road", "river", "boat")
GROUPS = (("tree", "road"), ("river", "boat"))
SCORE = WeightedScore(
    name="base_novel",
    groups=[{"weight": 0.4, "classes": GROUPS[0]}, {"weight": 0.6, "classes": GROUPS[1]}],
)
DATA = Dataset(
    name="toy",
    classes=[BACKGROUND_CLASS, *(ClassInfo(name=name, colour=(i, 0, 0)) for i, name in enumerate(NAMES[1:]))],
    scenes=[Scene(name=name, image="i", mask="m", labels=(name,)) for name in NAMES[1:]],
)


def naive(truths: np.ndarray, predictions: np.ndarray) -> float:
    """Pixels of 255 left out, those of 0 not; a class that is nowhere true has 0."""
    iou = {}
    for index in (1, 2, 3, 4):
        both = either = 0
        for truth, predicted in zip(truths.ravel(), predictions.ravel(), strict=True):
            if truth == 255:
                continue
            both += truth == index and predicted == index
            either += truth == index or predicted == index
        iou[index] = both / (either + 1e-10)
    return 0.4 * (iou[1] + iou[2]) / 2 + 0.6 * (iou[3] + iou[4]) / 2


def history(truths: np.ndarray, predictions: np.ndarray, n_classes: int = 5) -> TaskHistory:
    confusion = ConfusionAccumulator(n_classes)
    for number, (truth, predicted) in enumerate(zip(truths, predictions, strict=True)):
        confusion.update(predicted, truth, image=str(number))
    report = segmentation_report(confusion, class_names=NAMES[:n_classes])
    return TaskHistory.start([NAMES[1:n_classes]], SCORE).after(report)


@pytest.mark.parametrize("lacking", [None, 4])
def test_the_score_is_that_of_plain_loops_over_all_images(lacking):
    rng = np.random.default_rng(0)
    truths = rng.choice([0, 1, 2, 3, 4, 255], (3, 20, 30), p=[0.3, 0.2, 0.2, 0.15, 0.1, 0.05])
    predictions = np.where(rng.random(truths.shape) < 0.6, truths % 255, rng.integers(0, 5, truths.shape))
    truths[truths == lacking] = 0
    found = history(truths, predictions)
    assert found.scores == (pytest.approx(naive(truths, predictions)),)
    if lacking is not None:
        assert found.iou[-1]["boat"] is None, "all means leave it out, the score does not"


def test_a_matrix_by_hand():
    confusion = ConfusionAccumulator(5)
    matrix = np.zeros((5, 5), np.int64)
    matrix[0, 1] = 10  # background called tree counts against tree
    matrix[0, 0] = 1000  # and right background counts for nothing
    matrix[1, 1], matrix[1, 2] = 30, 10  # tree: 30 / (30 + 10 + 10) = 0.6
    matrix[2, 2], matrix[2, 0] = 40, 50  # road: 40 / (40 + 50 + 10) = 0.4
    matrix[3, 3], matrix[3, 4] = 20, 80  # river: 20 / 100 = 0.2
    matrix[4, 4] = 20  # boat: 20 / (20 + 80) = 0.2
    confusion.add(matrix, image="a")
    report = segmentation_report(confusion, class_names=NAMES)
    grown = TaskHistory.start([NAMES[1:]], SCORE).after(report)
    assert grown.scores == (pytest.approx(0.4 * 0.5 + 0.6 * 0.2),)
    assert TaskHistory.model_validate_json(grown.model_dump_json()) == grown


def test_there_is_no_score_before_all_classes_are_learnt_nor_without_truth():
    first = TaskHistory(groups=GROUPS, iou=({"background": 0.9, "tree": 0.5, "road": 0.7},), score=SCORE)
    assert first.scores == (None,)
    assert SCORE.of(dict.fromkeys(NAMES)) is None
    assert TaskHistory.start(GROUPS).scores == ()


def test_the_table_shows_it_under_its_name():
    rows = (
        {"background": 0.9, "tree": 0.5, "road": 0.7},
        dict(zip(NAMES, (0.8, 0.4, 0.6, 0.2, 0.1), strict=True)),
    )
    text = TaskHistory(groups=GROUPS, iou=rows, score=SCORE).to_markdown()
    head, _, *lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert head[-1] == "score_base_novel"
    assert [line[-1] for line in lines] == ["-", "29.0", "-"]
    assert {len(line) for line in lines} == {len(head)}
    assert dict(zip(head, lines[-1], strict=True))["all"] == "10.0"
    assert "score_base_novel = 0.4 x mean of tree, road + 0.6 x mean of river, boat." in text


def protocol(**score) -> IncrementalProtocol:
    return IncrementalProtocol(name="p", groups=[["tree", "road"], ["river"]], score=score or None)


def test_numbers_stand_for_the_data_sets_classes():
    asked = IncrementalProtocol(
        name="p",
        groups=[["1-2"], ["3-4"]],
        score={
            "name": "base_novel",
            "groups": [{"weight": 0.4, "classes": ["1-2"]}, {"weight": 0.6, "classes": ["River", 4]}],
        },
    )
    assert asked.score_of(DATA) == SCORE
    assert protocol().score_of(DATA) is None


@pytest.mark.parametrize("members", [["boat"], ["pier"], ["tree", "Tree"]])
def test_classes_that_no_task_learns_and_doubles_are_refused(members):
    asked = protocol(name="s", groups=[{"weight": 1, "classes": members}])
    with pytest.raises(InvalidParameterError, match="score 's' names classes twice, or that no task learns"):
        asked.score_of(DATA)


@pytest.mark.parametrize(
    ("score", "fault"),
    [
        ({"name": "s", "groups": [{"weight": 0.4, "classes": [1]}]}, r"add up to 0\.4, not to 1"),
        ({"name": "A b", "groups": [{"weight": 1, "classes": [1]}]}, "pattern"),
        ({"name": "s", "groups": [{"weight": 0, "classes": [1]}]}, "greater than 0"),
    ],
)
def test_a_score_that_is_no_weighted_mean_is_refused(score, fault):
    with pytest.raises(ValidationError, match=fault):
        WeightedScore.model_validate(score)


def test_a_protocol_without_a_score_has_the_hash_that_it_always_had():
    labels = {scene.name: scene.labels for scene in DATA.scenes}
    plain = split_tasks(DATA, protocol(), labels)
    before = "16466a819e029ac22d45e3aeb41ec92350c7271851b62be9fb27f25967d64169"
    assert plain.manifest_hash == before
    scored = split_tasks(DATA, protocol(name="s", groups=[{"weight": 1, "classes": ["tree"]}]), labels)
    assert scored.manifest_hash != plain.manifest_hash
    assert scored.scenes_hash(1) == plain.scenes_hash(1), "it is no part of a training"
