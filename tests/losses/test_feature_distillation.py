from __future__ import annotations

import pytest
import torch
from golden_cases import FLOAT_TYPES, golden_cases, gradient
from torch.nn import functional

from icss_core.errors import InvalidParameterError
from icss_core.losses import feature_distillation, partial_cross_entropy, plain_distillation


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_the_objective_of_ilt_matches_reference_values(dtype):
    for case in golden_cases("mib", "objective_ilt"):
        logits, body = case.tensor("logits", dtype, grad=True), case.tensor("body", dtype, grad=True)
        kept = 100 * plain_distillation(logits, case.tensor("old_logits", dtype))
        kept = kept + 100 * feature_distillation(body, case.tensor("old_body", dtype))
        case.check("regularisation", kept, dtype)
        case.check("grad_body", gradient(kept, body), dtype)


def test_equals_torchs_mean_squared_error():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 2, 3, 4, 5, generator=generator, dtype=torch.float64)
    one.requires_grad_()
    other.requires_grad_()
    value = feature_distillation(one, other)
    torch.testing.assert_close(value, functional.mse_loss(one, other))
    assert not gradient(value, other).any()


def test_shapes_that_differ_are_named():
    with pytest.raises(InvalidParameterError, match=r"\(1, 2, 3, 3\) and \(1, 2, 3, 4\)"):
        feature_distillation(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 4))


def test_an_empty_batch_of_labels_leaves_only_what_is_kept():
    """The two parts of ILT add up whatever the labels are."""
    logits = torch.zeros(1, 3, 4, 4, requires_grad=True)
    nothing = partial_cross_entropy(logits, torch.full((1, 4, 4), 255))
    kept = plain_distillation(logits, torch.zeros(1, 2, 4, 4))
    assert (nothing + kept).item() == pytest.approx(torch.tensor(2.0).log().item() / 2)
