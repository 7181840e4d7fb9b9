from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from golden_cases import FLOAT_TYPES, golden_cases, gradient

from icss_core.errors import InvalidParameterError
from icss_core.losses import partial_cross_entropy, unbiased_cross_entropy
from icss_core.losses.unbiased_cross_entropy import unbiased_cross_entropy_map


def random_case(n_classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n_classes)
    logits = 2 * torch.randn(2, n_classes, 3, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, n_classes, (2, 3, 4), generator=generator)
    labels[0, 0, :2] = 255
    return logits.requires_grad_(), labels


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_matches_reference_values(dtype):
    for case in golden_cases("mib", "unbiased_ce"):
        logits, labels = case.tensor("logits", dtype, grad=True), case.tensor("labels", dtype)
        n_old = case.constants["n_old"]
        case.check("pixel", unbiased_cross_entropy_map(logits, labels, n_old=n_old), dtype)
        everywhere = unbiased_cross_entropy(logits, labels, n_old=n_old)
        case.check("mean_all", everywhere, dtype)
        case.check("grad_mean_all", gradient(everywhere, logits), dtype)
        if "mean_valid" in case.entry["outputs"]:
            labelled = unbiased_cross_entropy(logits, labels, n_old=n_old, over="labelled")
            case.check("mean_valid", labelled, dtype)
            case.check("grad_mean_valid", gradient(labelled, logits), dtype)


@pytest.mark.parametrize("n_old", [1, 3, 4])
def test_equals_plain_loops(n_old):
    logits, labels = random_case()
    values = logits.detach()
    expected = np.zeros((2, 3, 4))
    for b, i, j in np.ndindex(2, 3, 4):
        p = [math.exp(float(values[b, c, i, j])) for c in range(5)]
        label = int(labels[b, i, j])
        if label != 255:
            expected[b, i, j] = -math.log((sum(p[:n_old]) if label < n_old else p[label]) / sum(p))
    np.testing.assert_allclose(
        unbiased_cross_entropy_map(logits, labels, n_old=n_old).detach().numpy(), expected, rtol=1e-12
    )
    assert unbiased_cross_entropy(logits, labels, n_old=n_old).item() == pytest.approx(expected.mean())
    labelled = unbiased_cross_entropy(logits, labels, n_old=n_old, over="labelled")
    assert labelled.item() == pytest.approx(expected.sum() / 22)


def test_with_the_background_alone_before_it_is_the_ordinary_cross_entropy():
    logits, labels = random_case()
    torch.testing.assert_close(
        unbiased_cross_entropy(logits, labels, n_old=1, over="labelled"),
        partial_cross_entropy(logits, labels),
    )


def test_gradient_equals_finite_differences():
    logits, labels = random_case()
    assert torch.autograd.gradcheck(lambda z: unbiased_cross_entropy(z, labels, n_old=3), (logits,))


def test_nothing_labelled_gives_zero_and_a_gradient():
    logits, labels = random_case()
    for over in ("all", "labelled"):
        value = unbiased_cross_entropy(logits, torch.full_like(labels, 255), n_old=3, over=over)
        assert value.item() == 0
        assert not gradient(value, logits).any()


def test_wrong_arguments_are_named():
    logits, labels = random_case()
    with pytest.raises(InvalidParameterError, match=r"n_old must be in \[1, 5\], not 6"):
        unbiased_cross_entropy(logits, labels, n_old=6)
    with pytest.raises(InvalidParameterError, match="found 0 to 7"):
        unbiased_cross_entropy(logits, torch.where(labels == 3, 7, labels), n_old=3)
    with pytest.raises(InvalidParameterError, match="int64"):
        unbiased_cross_entropy(logits, labels.int(), n_old=3)
