from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from golden_cases import FLOAT_TYPES, golden_cases, gradient

from icss_core.errors import InvalidParameterError
from icss_core.losses import partial_cross_entropy, possible_classes_cross_entropy


def random_case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2, 4, 3, 5, generator=generator, dtype=torch.float64)
    labels = torch.full((2, 3, 5), 255)
    labels[0, 1, 2], labels[1, 0, 0] = 1, 3
    return logits.requires_grad_(), labels, torch.tensor([[1, 1, 0, 0], [1, 0, 0, 1]]).bool()


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_matches_reference_values(dtype):
    for case in golden_cases("weak", "pce_unl"):
        logits, labels = case.tensor("logits", dtype, grad=True), case.tensor("labels", dtype)
        known = partial_cross_entropy(logits, labels)
        unknown = possible_classes_cross_entropy(logits, labels, case.tensor("allowed", dtype).bool())
        case.check("pce", known, dtype)
        case.check("unlabelled", unknown, dtype)
        both = known + case.constants["gamma"] * unknown
        case.check("unl", both, dtype)
        case.check("grad_unl", gradient(both, logits), dtype)


def test_equals_plain_loops():
    logits, labels, possible = random_case()
    terms = []
    for b, i, j in np.ndindex(2, 3, 5):
        if int(labels[b, i, j]) == 255:
            p = [math.exp(float(logits.detach()[b, c, i, j])) for c in range(4)]
            terms.append(-math.log(sum(p[c] for c in range(4) if possible[b, c]) / sum(p)))
    value = possible_classes_cross_entropy(logits, labels, possible)
    assert value.item() == pytest.approx(sum(terms) / len(terms))


def test_gradient_equals_finite_differences():
    logits, labels, possible = random_case()
    assert torch.autograd.gradcheck(lambda z: possible_classes_cross_entropy(z, labels, possible), (logits,))


def test_nothing_unlabelled_and_everything_possible_are_zero():
    logits, labels, possible = random_case()
    for value in (
        possible_classes_cross_entropy(logits, torch.zeros_like(labels), possible),
        possible_classes_cross_entropy(logits, labels, torch.ones_like(possible)),
    ):
        assert value.item() == pytest.approx(0, abs=1e-12)
        assert gradient(value, logits).abs().max() < 1e-12


def test_an_impossible_class_of_huge_score_gives_a_finite_value():
    logits = torch.zeros(1, 2, 1, 1)
    logits[0, 1] = 500
    value = possible_classes_cross_entropy(logits, torch.full((1, 1, 1), 255), torch.tensor([[True, False]]))
    assert value.item() == pytest.approx(500)


def test_wrong_arguments_are_named():
    logits, labels, possible = random_case()
    with pytest.raises(InvalidParameterError, match="at least one possible class"):
        possible_classes_cross_entropy(logits, labels, torch.zeros_like(possible))
    with pytest.raises(InvalidParameterError, match=r"\(2, 4\)"):
        possible_classes_cross_entropy(logits, labels, possible[:, :3])
