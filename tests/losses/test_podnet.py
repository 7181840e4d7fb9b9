from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_cases import FLOAT_TYPES, golden_cases, gradient

from icss_core.errors import InvalidParameterError
from icss_core.losses import pooled_distillation


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_value_and_gradient_match_reference_values(dtype):
    for case in golden_cases("icss", "podnet"):
        features = case.tensor("features", dtype, grad=True)
        loss = pooled_distillation(features, case.tensor("memory_features", dtype))
        case.check("loss", loss, dtype)
        case.check("grad", gradient(loss, features), dtype)


def test_value_equals_plain_loops():
    generator = torch.Generator().manual_seed(0)
    features, memory = torch.randn(2, 2, 3, 4, 5, generator=generator, dtype=torch.float64)
    apart = (features - memory).numpy()
    terms = []
    for b, c in np.ndindex(2, 3):
        terms += [sum(apart[b, c, i, j] for j in range(5)) ** 2 for i in range(4)]
        terms += [sum(apart[b, c, i, j] for i in range(4)) ** 2 for j in range(5)]
    assert pooled_distillation(features, memory).item() == pytest.approx(sum(terms) / len(terms))


def test_gradient_equals_finite_differences_and_the_memory_gets_none():
    generator = torch.Generator().manual_seed(1)
    features, memory = torch.randn(2, 2, 3, 4, 5, generator=generator, dtype=torch.float64).requires_grad_()
    fixed = memory.detach()
    assert torch.autograd.gradcheck(lambda values: pooled_distillation(values, fixed), (features,))
    assert not gradient(pooled_distillation(features.detach().requires_grad_(), memory), memory).any()


def test_16_bit_features_are_summed_in_32_bits():
    features = torch.full((1, 1, 300, 1), 1.0, dtype=torch.bfloat16)
    assert pooled_distillation(features, torch.zeros_like(features)).item() == pytest.approx(
        (300**2 + 300) / 301
    )


def test_shapes_that_differ_are_named():
    with pytest.raises(InvalidParameterError, match=r"\(1, 2, 3, 3\) and \(1, 2, 3, 4\)"):
        pooled_distillation(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 4))
