from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from golden_cases import FLOAT_TYPES, golden_cases, gradient

from icss_core.errors import InvalidParameterError
from icss_core.losses import EntropyMedians, complete_background, completed_cross_entropy
from icss_core.losses.plop_labels import _entropy


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_labels_and_loss_match_reference_values(dtype):
    for case in golden_cases("plop", "pseudo_label_ce"):
        logits, old = case.tensor("logits", dtype, grad=True), case.tensor("old_logits", dtype)
        n_classes = case.constants["n_all"]
        case.check("entropy", _entropy(old, n_classes), dtype)
        completed = complete_background(
            case.tensor("labels", dtype), old, case.tensor("thresholds", dtype), n_classes=n_classes
        )
        case.check("labels", completed.labels, dtype)
        loss = completed_cross_entropy(logits, completed)
        case.check("loss", loss, dtype)
        case.check("grad", gradient(loss, logits), dtype)


@pytest.mark.parametrize("batch", [1, 3])
def test_medians_are_the_exact_ones_to_half_a_bin(batch):
    for case in golden_cases("plop", "thresholds"):
        old, labels = case.tensor("old_logits", torch.float64), case.tensor("labels", torch.float64)
        constants = case.constants
        medians = EntropyMedians(constants["n_old"], constants["n_all"], bins=2000)
        for start in range(0, len(old), batch):
            medians.update(labels[start : start + batch], old[start : start + batch])
        expected = case.arrays["out.threshold"]
        half = 0.5 / (constants["n_old"] * math.log(constants["n_all"]) * 2000)
        # of an even number of values any number between the middle two is a median
        gap = 0.002
        np.testing.assert_allclose(medians.thresholds().numpy(), expected, atol=half + gap)


def test_entropy_equals_the_published_formula_written_out():
    generator = torch.Generator().manual_seed(0)
    old = torch.randn(1, 3, 2, 2, generator=generator, dtype=torch.float64)
    for i, j in np.ndindex(2, 2):
        p = [math.exp(float(old[0, c, i, j])) for c in range(3)]
        p = [value / sum(p) for value in p]
        expected = -sum(q * math.log(q + 1e-8) for q in p) / 3 / math.log(3) / math.log(5)
        assert _entropy(old, 5)[0, i, j].item() == pytest.approx(expected)


def test_uniform_predictions_lie_in_the_last_bin_and_certain_ones_in_the_first():
    medians = EntropyMedians(2, 3, bins=10)
    medians.update(torch.zeros(1, 1, 2, dtype=torch.int64), torch.tensor([[[[0.0, 50.0]], [[0.0, -50.0]]]]))
    assert medians.counts[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert medians.counts[1].sum() == 0


def test_labels_of_the_task_are_never_touched():
    old = torch.zeros(1, 2, 1, 4)
    old[:, 1] = 9
    labels = torch.tensor([[[0, 1, 2, 255]]])
    sure = complete_background(labels, old, torch.tensor([1.0, 1.0]), n_classes=3)
    assert sure.labels.tolist() == [[[1, 1, 2, 255]]]
    assert sure.factors.item() == pytest.approx(1, abs=1e-5)
    unsure = complete_background(labels, old, torch.tensor([0.0, 0.0]), n_classes=3)
    assert unsure.labels.tolist() == [[[255, 255, 2, 255]]]
    assert unsure.factors.item() == 0


def test_wrong_thresholds_are_named():
    with pytest.raises(InvalidParameterError, match=r"\(2,\)"):
        complete_background(
            torch.zeros(1, 1, 1, dtype=torch.int64), torch.zeros(1, 2, 1, 1), torch.zeros(3), n_classes=3
        )
