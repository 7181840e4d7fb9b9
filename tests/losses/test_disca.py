from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from golden_cases import FLOAT_TYPES, golden_cases, gradient

from icss_core.losses import memory_label_cross_entropy, partial_cross_entropy


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_value_and_gradient_match_reference_values(dtype):
    for case in golden_cases("icss", "disca"):
        logits = case.tensor("logits", dtype, grad=True)
        memory_labels = case.tensor("memory_prob", dtype).argmax(dim=1)
        cross_entropy = partial_cross_entropy(logits, case.tensor("labels", dtype))
        term = memory_label_cross_entropy(logits, memory_labels)
        total = cross_entropy + term / case.constants["step"]
        case.check("ce", cross_entropy, dtype)
        case.check("term", term, dtype)
        case.check("total", total, dtype)
        case.check("grad_term_weighted", gradient(term / case.constants["step"], logits), dtype)
        case.check("grad_total", gradient(total, logits), dtype)


def test_value_equals_plain_loops():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 5, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 4, (2, 5, 6), generator=generator)
    labels[labels == 3] = 255
    losses = []
    for b, i, j in np.ndindex(2, 5, 6):
        label = int(labels[b, i, j])
        if label not in (0, 255):
            scores = logits[b, :, i, j].tolist()
            losses.append(math.log(sum(math.exp(score) for score in scores)) - scores[label])
    value = memory_label_cross_entropy(logits, labels)
    assert value.item() == pytest.approx(sum(losses) / len(losses))


def test_gradient_equals_finite_differences():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 3, 4, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 3, (1, 4, 4), generator=generator)
    assert torch.autograd.gradcheck(lambda values: memory_label_cross_entropy(values, labels), (logits,))


def test_a_map_of_background_alone_gives_zero_and_a_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = memory_label_cross_entropy(logits, torch.zeros(1, 4, 4, dtype=torch.int64))
    assert loss.item() == 0
    assert not gradient(loss, logits).any()
