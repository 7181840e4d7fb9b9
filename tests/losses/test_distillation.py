from __future__ import annotations

import math

import pytest
import torch
from golden_cases import FLOAT_TYPES, golden_cases, gradient

from icss_core.errors import InvalidParameterError
from icss_core.losses import plain_distillation, unbiased_distillation
from icss_core.losses.distillation import unbiased_distillation_map


def random_case(seed: int, n_old: int = 3, n_classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, n_classes, 3, 4, generator=generator, dtype=torch.float64)
    old = 2 * torch.randn(2, n_old, 3, 4, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), old.requires_grad_()


def naive(logits: torch.Tensor, old: torch.Tensor, alpha: float) -> list[list[list[float]]]:
    """MiB Eqs. 7-9 pixel by pixel, probabilities written out."""
    logits, old = logits.detach(), old.detach()
    n_old, n_classes = old.shape[1], logits.shape[1]
    maps = []
    for b in range(logits.shape[0]):
        lines = []
        for i in range(logits.shape[2]):
            line = []
            for j in range(logits.shape[3]):
                p = [math.exp(float(logits[b, c, i, j])) for c in range(n_classes)]
                q = [math.exp(alpha * float(old[b, c, i, j])) for c in range(n_old)]
                moved = [p[0] + sum(p[n_old:]), *p[1:n_old]]
                terms = [q[c] / sum(q) * math.log(moved[c] / sum(p)) for c in range(n_old)]
                line.append(-sum(terms) / n_old)
            lines.append(line)
        maps.append(lines)
    return maps


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_matches_reference_values(dtype):
    for case in golden_cases("mib", "unbiased_kd"):
        logits, old = case.tensor("logits", dtype, grad=True), case.tensor("old_logits", dtype)
        alpha = case.constants["alpha"]
        loss = unbiased_distillation(logits, old, alpha=alpha)
        case.check("pixel", unbiased_distillation_map(logits, old, alpha=alpha), dtype)
        case.check("mean", loss, dtype)
        case.check("grad", gradient(loss, logits), dtype)


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_the_plain_one_matches_reference_values(dtype):
    for case in golden_cases("mib", "plain_kd"):
        logits, old = case.tensor("logits", dtype, grad=True), case.tensor("old_logits", dtype)
        loss = plain_distillation(logits, old, alpha=case.constants["alpha"])
        case.check("mean", loss, dtype)
        case.check("grad", gradient(loss, logits), dtype)


def test_the_plain_one_equals_torchs_divergence_and_ignores_new_classes():
    logits, old = random_case(7)
    target = torch.softmax(old.detach(), dim=1)
    divergence = torch.nn.functional.kl_div(
        torch.log_softmax(logits[:, :3], dim=1), target, reduction="none"
    ).sum(dim=1)
    entropy = -(target * target.log()).sum(dim=1)
    value = plain_distillation(logits, old)
    torch.testing.assert_close(value, (divergence + entropy).mean() / 3)
    assert not gradient(value, logits)[:, 3:].any()


@pytest.mark.parametrize(("n_old", "n_classes"), [(1, 2), (3, 4), (3, 6), (4, 4)])
@pytest.mark.parametrize("alpha", [1.0, 2.5])
def test_equals_plain_loops(n_old, n_classes, alpha):
    logits, old = random_case(n_old, n_old, n_classes)
    expected = torch.tensor(naive(logits, old, alpha), dtype=torch.float64)
    torch.testing.assert_close(unbiased_distillation_map(logits, old, alpha=alpha), expected)
    mask = torch.rand(expected.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    torch.testing.assert_close(unbiased_distillation(logits, old, alpha=alpha), expected.mean())
    masked = unbiased_distillation(logits, old, alpha=alpha, mask=mask)
    torch.testing.assert_close(masked, expected[mask].mean())


def test_gradient_equals_finite_differences():
    logits, old = random_case(1)
    old = old.detach()
    assert torch.autograd.gradcheck(lambda scores: unbiased_distillation(scores, old, alpha=1.5), (logits,))


def test_gradient_never_reaches_the_memory_network():
    logits, old = random_case(2)
    unbiased_distillation(logits, old).backward()
    assert logits.grad is not None
    assert old.grad is None


def test_minimum_is_the_memory_networks_own_prediction():
    """A new class that takes from the background alone costs nothing more than the entropy of the target."""
    _, old = random_case(3)
    old = old.detach()
    share = math.log(0.25)
    same = torch.cat([old[:, :1] + math.log(0.75), old[:, 1:], old[:, :1] + share], dim=1).requires_grad_()
    loss = unbiased_distillation(same, old)
    target = torch.softmax(old, dim=1)
    torch.testing.assert_close(loss, -(target * target.log()).sum(dim=1).mean() / old.shape[1])
    assert gradient(loss, same).abs().max() < 1e-12


def test_masked_pixels_may_hold_anything():
    logits, old = random_case(4)
    mask = torch.ones(2, 3, 4, dtype=torch.bool)
    mask[0, 0, 0] = False
    expected = unbiased_distillation(logits, old, mask=mask)
    spoilt = logits.detach().clone()
    spoilt[0, :, 0, 0] = float("nan")
    spoilt.requires_grad_()
    value = unbiased_distillation(spoilt, old, mask=mask)
    torch.testing.assert_close(value, expected)
    assert torch.isfinite(gradient(value, spoilt)).all()


def test_empty_mask_gives_zero_and_a_gradient():
    logits, old = random_case(5)
    value = unbiased_distillation(logits, old, mask=torch.zeros(2, 3, 4, dtype=torch.bool))
    value.backward()
    assert value.item() == 0
    assert not logits.grad.any()


def test_wrong_arguments_are_named():
    logits, old = random_case(6)
    with pytest.raises(InvalidParameterError, match="O <= N"):
        unbiased_distillation(old, logits)
    with pytest.raises(InvalidParameterError, match="old_logits"):
        unbiased_distillation(logits, old[..., :-1])
    with pytest.raises(InvalidParameterError, match="alpha"):
        unbiased_distillation(logits, old, alpha=0)
    with pytest.raises(InvalidParameterError, match="mask"):
        unbiased_distillation(logits, old, mask=torch.ones(2, 3, 4))
