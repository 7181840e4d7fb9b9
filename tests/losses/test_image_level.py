from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from icss_core.errors import InvalidParameterError
from icss_core.losses import image_level_loss, objectness_loss


def random_case() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2, 4, 3, 5, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.tensor([[1, 1, 0, 0], [1, 0, 0, 1]]).bool()


def probabilities(logits: torch.Tensor) -> np.ndarray:
    powers = np.exp(logits.detach().numpy())
    return powers / powers.sum(axis=1, keepdims=True)


def test_image_level_equals_plain_loops():
    logits, present = random_case()
    p = probabilities(logits)
    values = []
    for b in range(2):
        here = [-math.log(p[b, c].max()) for c in range(4) if present[b, c]]
        away = [-math.log(1 - p[b, c].max()) for c in range(4) if not present[b, c]]
        values.append(sum(here) / len(here) + sum(away) / len(away))
    assert image_level_loss(logits, present).item() == pytest.approx(np.mean(values))


def test_nothing_absent_or_nothing_present_counts_as_zero():
    logits, present = random_case()
    p = probabilities(logits)
    everything = image_level_loss(logits, torch.ones_like(present))
    assert everything.item() == pytest.approx(-np.log(p.max(axis=(2, 3))).mean())
    nothing = image_level_loss(logits, torch.zeros_like(present))
    assert nothing.item() == pytest.approx(-np.log(1 - p.max(axis=(2, 3))).mean())


def test_objectness_equals_plain_loops():
    logits, _ = random_case()
    p = probabilities(logits)
    share = np.random.default_rng(0).random((2, 3, 5))
    terms = [
        -share[b, i, j] * math.log(1 - p[b, 0, i, j]) - (1 - share[b, i, j]) * math.log(p[b, 0, i, j])
        for b, i, j in np.ndindex(2, 3, 5)
    ]
    assert objectness_loss(logits, torch.from_numpy(share)).item() == pytest.approx(np.mean(terms))


def test_objectness_that_is_not_known_weighs_nothing():
    logits, _ = random_case()
    share = torch.from_numpy(np.random.default_rng(0).random((2, 3, 5)))
    valid = torch.ones(2, 3, 5, dtype=torch.bool)
    valid[:, 2] = False
    expected = objectness_loss(logits[:, :, :2], share[:, :2])
    share[:, 2] = torch.nan
    found = objectness_loss(logits, share, valid=valid)
    torch.testing.assert_close(found, expected)
    (slope,) = torch.autograd.grad(found, logits)
    assert (slope[:, :, 2] == 0).all()
    assert slope.isfinite().all()
    nothing = objectness_loss(logits, share, valid=torch.zeros_like(valid))
    assert nothing.item() == 0
    assert (torch.autograd.grad(nothing, logits)[0] == 0).all()
    with pytest.raises(InvalidParameterError, match="found nan to nan"):
        objectness_loss(logits, share)
    with pytest.raises(InvalidParameterError, match=r"bool of \(2, 3, 5\)"):
        objectness_loss(logits, share, valid=valid[:, :2])


def test_gradients_equal_finite_differences():
    logits, present = random_case()
    share = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: image_level_loss(z, present), (logits,))
    assert torch.autograd.gradcheck(lambda z: objectness_loss(z, share), (logits,))


def test_certain_scores_give_finite_values():
    sure = torch.zeros(1, 2, 2, 2)
    sure[:, 1] = 1000
    assert math.isfinite(image_level_loss(sure, torch.tensor([[True, False]])).item())
    assert objectness_loss(sure, torch.zeros(1, 2, 2)).item() == pytest.approx(1000)


def test_wrong_arguments_are_named():
    logits, present = random_case()
    with pytest.raises(InvalidParameterError, match=r"bool of \(B, N\)"):
        image_level_loss(logits, present[:, :3])
    with pytest.raises(InvalidParameterError, match="found 0 to 2"):
        objectness_loss(logits, torch.full((2, 3, 5), 2.0) * (torch.arange(5) > 0))
    with pytest.raises(InvalidParameterError, match=r"\(B, H, W\)"):
        objectness_loss(logits, torch.zeros(2, 3, 4))
