from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_cases import golden_cases
from sklearn import metrics as sklearn_metrics
from torchmetrics.functional import classification as torchmetrics_functional

from icss_core.errors import InvalidParameterError
from icss_core.metrics import (
    ConfusionAccumulator,
    accuracy,
    confusion_matrix,
    f1_per_class,
    iou_per_class,
    mean_defined,
    precision_per_class,
    recall_per_class,
)

N_CLASSES = 5


def random_maps(seed: int, shape: tuple[int, ...] = (30, 40)) -> tuple[np.ndarray, np.ndarray]:
    """Prediction right two times in three, truth with some ignored pixels, all classes present."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, N_CLASSES, shape).astype(np.uint8)
    prediction = np.where(generator.random(shape) < 2 / 3, truth, generator.integers(0, N_CLASSES, shape))
    truth[generator.random(shape) < 0.1] = 255
    return prediction.astype(np.uint8), truth


def test_pooled_scores_match_reference_values():
    for case in golden_cases("metrics", "pooled"):
        n_classes = case.constants["n_classes"]
        matrix = confusion_matrix(case.array("pred"), case.array("gt"), n_classes=n_classes)
        iou = iou_per_class(matrix)
        case.check("confusion", matrix, torch.float64)
        case.check("iou", iou, torch.float64)
        case.check("miou", mean_defined(iou), torch.float64)
        case.check("accuracy", accuracy(matrix), torch.float64)
        case.check("miou_without_background", mean_defined(iou, range(1, n_classes)), torch.float64)
        case.check("miou_old", mean_defined(iou, case.constants["old"]), torch.float64)
        case.check("miou_new", mean_defined(iou, case.constants["new"]), torch.float64)


def test_image_wise_scores_match_reference_values():
    for case in golden_cases("metrics", "image_wise"):
        for gt, suffix in (("gt", ""), ("gt_ignore", "_ignore")):
            confusion = ConfusionAccumulator(case.constants["n_classes"])
            for number, (truth, prediction) in enumerate(
                zip(case.array(gt), case.array("pred"), strict=True)
            ):
                confusion.update(prediction, truth, image=str(number))
            iou = iou_per_class(confusion.matrices)
            case.check(f"iou_per_image{suffix}", iou, torch.float64)
            case.check(f"miou{suffix}", mean_defined(mean_defined(iou)), torch.float64)
            right = accuracy(confusion.matrices)
            if suffix:
                case.check("accuracy_ignore_per_image", right, torch.float64)
            else:
                case.check("miou_per_image", mean_defined(iou), torch.float64)
                case.check("accuracy_per_image", right, torch.float64)


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_scikit_learn(seed):
    prediction, truth = random_maps(seed)
    matrix = confusion_matrix(prediction, truth, n_classes=N_CLASSES)
    flat = truth[truth != 255], prediction[truth != 255]
    labels = list(range(N_CLASSES))
    np.testing.assert_array_equal(matrix, sklearn_metrics.confusion_matrix(*flat, labels=labels))
    for ours, theirs in (
        (iou_per_class, sklearn_metrics.jaccard_score),
        (f1_per_class, sklearn_metrics.f1_score),
        (recall_per_class, sklearn_metrics.recall_score),
        (precision_per_class, sklearn_metrics.precision_score),
    ):
        np.testing.assert_allclose(ours(matrix), theirs(*flat, labels=labels, average=None))
    assert float(accuracy(matrix)) == pytest.approx(sklearn_metrics.accuracy_score(*flat))


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_torchmetrics(seed):
    prediction, truth = (torch.from_numpy(array).long() for array in random_maps(seed))
    matrix = confusion_matrix(prediction, truth, n_classes=N_CLASSES)
    options = {"num_classes": N_CLASSES, "ignore_index": 255}
    theirs = torchmetrics_functional.multiclass_confusion_matrix(prediction, truth, **options)
    np.testing.assert_array_equal(matrix, theirs.numpy())
    jaccard = torchmetrics_functional.multiclass_jaccard_index(prediction, truth, average=None, **options)
    np.testing.assert_allclose(iou_per_class(matrix), jaccard.numpy(), rtol=1e-6)


def test_counts_equal_a_plain_double_loop_over_several_chunks(monkeypatch):
    monkeypatch.setattr("icss_core.metrics.confusion._CHUNK", 7)
    prediction, truth = random_maps(3, (9, 11))
    prediction[0, :3] = 255
    expected = np.zeros((N_CLASSES, N_CLASSES), np.int64)
    for t, p in zip(truth.flat, prediction.flat, strict=True):
        if t != 255 and p != 255:
            expected[t, p] += 1
    np.testing.assert_array_equal(confusion_matrix(prediction, truth, n_classes=N_CLASSES), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64])
def test_dtype_and_memory_order_do_not_matter(dtype):
    prediction, truth = random_maps(4)
    expected = confusion_matrix(prediction, truth, n_classes=N_CLASSES)
    actual = confusion_matrix(
        np.asfortranarray(prediction.astype(dtype)), truth.astype(dtype), n_classes=N_CLASSES
    )
    np.testing.assert_array_equal(actual, expected)


def test_class_absent_from_the_truth_has_no_score_but_its_false_positives_count():
    truth = np.array([[0, 0, 1, 1]])
    prediction = np.array([[0, 2, 1, 1]])
    matrix = confusion_matrix(prediction, truth, n_classes=3)
    np.testing.assert_array_equal(iou_per_class(matrix), [0.5, 1.0, np.nan])
    assert float(mean_defined(iou_per_class(matrix))) == 0.75
    assert precision_per_class(matrix)[2] == 0  # it was predicted, and wrongly
    assert np.isnan(mean_defined(iou_per_class(matrix), [2]))


def test_no_pixel_gives_no_score():
    matrix = confusion_matrix(np.full((2, 2), 255), np.zeros((2, 2), np.uint8), n_classes=2)
    assert np.isnan(iou_per_class(matrix)).all()
    assert np.isnan(accuracy(matrix))


def test_windows_of_an_image_add_up():
    prediction, truth = random_maps(5)
    confusion = ConfusionAccumulator(N_CLASSES)
    for rows in (slice(0, 7), slice(7, 30)):
        confusion.update(prediction[rows], truth[rows], image="a")
    confusion.update(prediction[:3], truth[:3], image="b")
    assert confusion.images == ("a", "b")
    np.testing.assert_array_equal(
        confusion.matrices[0], confusion_matrix(prediction, truth, n_classes=N_CLASSES)
    )
    np.testing.assert_array_equal(confusion.pooled, confusion.matrices.sum(axis=0))
    assert ConfusionAccumulator(3).pooled.shape == (3, 3)


def test_wrong_arguments_are_named():
    ones = np.ones((2, 2), np.uint8)
    with pytest.raises(InvalidParameterError, match="one shape"):
        confusion_matrix(ones, ones[:1], n_classes=2)
    with pytest.raises(InvalidParameterError, match="integers"):
        confusion_matrix(ones.astype(float), ones, n_classes=2)
    with pytest.raises(InvalidParameterError, match=r"truth holds label 7 \(4 pixels\)"):
        confusion_matrix(ones, ones * 7, n_classes=2)
    with pytest.raises(InvalidParameterError, match="prediction holds label 2"):
        confusion_matrix(ones * 2, ones, n_classes=2)
    with pytest.raises(InvalidParameterError, match="found 256"):
        confusion_matrix(ones.astype(int) * 256, ones, n_classes=2)
    with pytest.raises(InvalidParameterError, match="n_classes"):
        confusion_matrix(ones, ones, n_classes=256)
    with pytest.raises(InvalidParameterError, match="ignore"):
        confusion_matrix(ones, ones, n_classes=3, ignore=1)
    with pytest.raises(InvalidParameterError, match="3 x 3"):
        ConfusionAccumulator(3).add(np.zeros((2, 2), np.int64), image="a")
