from __future__ import annotations

import pytest
import torch
from golden_cases import FLOAT_TYPES, golden_cases, gradient
from torch.nn import functional

from icss_core.errors import InvalidParameterError
from icss_core.losses import sigmoid_cross_entropy, sigmoid_distillation
from icss_core.losses.sigmoid import sigmoid_cross_entropy_map


def random_case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2, 4, 3, 5, generator=generator, dtype=torch.float64)
    old = 2 * torch.randn(2, 3, 3, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 4, (2, 3, 5), generator=generator)
    labels[1, 0] = 255
    return logits.requires_grad_(), old.requires_grad_(), labels


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_cross_entropy_matches_reference_values(dtype):
    for case in golden_cases("mib", "sigmoid_ce"):
        logits, labels = case.tensor("logits", dtype, grad=True), case.tensor("labels", dtype)
        everywhere = sigmoid_cross_entropy(logits, labels)
        case.check("pixel", sigmoid_cross_entropy_map(logits, labels), dtype)
        case.check("mean_all", everywhere, dtype)
        case.check("mean_valid", sigmoid_cross_entropy(logits, labels, over="labelled"), dtype)
        case.check("grad_mean_all", gradient(everywhere, logits), dtype)


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_the_objective_of_lwf_mc_matches_reference_values(dtype):
    for case in golden_cases("mib", "objective_lwf_mc"):
        logits = case.tensor("logits", dtype, grad=True)
        own = sigmoid_cross_entropy(logits, case.tensor("labels", dtype))
        kept = 10 * sigmoid_distillation(logits, case.tensor("old_logits", dtype))
        case.check("classification", own, dtype)
        case.check("regularisation", kept, dtype)
        case.check("grad_logits", gradient(own + kept, logits), dtype)


def test_cross_entropy_equals_torchs_on_a_one_hot_map():
    logits, _, labels = random_case()
    one_hot = functional.one_hot(labels.clamp(max=3), 4).movedim(-1, 1).double()
    expected = functional.binary_cross_entropy_with_logits(logits, one_hot, reduction="none").sum(dim=1)
    expected[labels == 255] = 0
    torch.testing.assert_close(sigmoid_cross_entropy(logits, labels), expected.mean())
    torch.testing.assert_close(
        sigmoid_cross_entropy(logits, labels, over="labelled"), expected.sum() / (labels != 255).sum()
    )


def test_distillation_equals_the_entropies_written_out():
    logits, old, _ = random_case()
    p, q = logits[:, :3].sigmoid(), old.sigmoid()
    expected = -(q * p.log() + (1 - q) * (1 - p).log()).sum(dim=1).mean()
    torch.testing.assert_close(sigmoid_distillation(logits, old), expected)
    assert not gradient(sigmoid_distillation(logits, old), old).any()


def test_gradients_equal_finite_differences():
    logits, old, labels = random_case()
    old = old.detach()
    assert torch.autograd.gradcheck(lambda z: sigmoid_cross_entropy(z, labels), (logits,))
    assert torch.autograd.gradcheck(lambda z: sigmoid_distillation(z, old), (logits,))


def test_wrong_arguments_are_named():
    logits, old, labels = random_case()
    with pytest.raises(InvalidParameterError, match="O <= N"):
        sigmoid_distillation(old, logits)
    with pytest.raises(InvalidParameterError, match="found 0 to 9"):
        sigmoid_cross_entropy(logits, torch.where(labels == 2, 9, labels))
