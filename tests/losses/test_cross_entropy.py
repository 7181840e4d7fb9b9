from __future__ import annotations

import math

import pytest
import torch
from golden_cases import FLOAT_TYPES, golden_cases, gradient

from icss_core.errors import InvalidParameterError
from icss_core.losses import class_balanced_cross_entropy, partial_cross_entropy


def random_case(seed: int, n_classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, n_classes, 5, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, n_classes, (2, 5, 6), generator=generator)
    labels[torch.rand(2, 5, 6, generator=generator) < 0.7] = 255
    return logits.requires_grad_(), labels


def naive(logits: torch.Tensor, labels: torch.Tensor) -> dict[int, list[float]]:
    """-log softmax of each labelled pixel, by class, with plain loops."""
    losses: dict[int, list[float]] = {}
    logits = logits.detach()
    for b in range(labels.shape[0]):
        for i in range(labels.shape[1]):
            for j in range(labels.shape[2]):
                label = int(labels[b, i, j])
                if label != 255:
                    scores = [float(value) for value in logits[b, :, i, j]]
                    total = sum(math.exp(score) for score in scores)
                    losses.setdefault(label, []).append(-math.log(math.exp(scores[label]) / total))
    return losses


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_partial_cross_entropy_matches_reference_values(dtype):
    for case in golden_cases("icss", "partial_ce"):
        logits = case.tensor("logits", dtype, grad=True)
        weights = case.tensor("class_weights", dtype) if case.has("class_weights") else None
        loss = partial_cross_entropy(
            logits, case.tensor("labels", dtype), class_weights=weights, ignore=case.constants["ignore"]
        )
        case.check("loss", loss, dtype)
        case.check("grad", gradient(loss, logits), dtype)


@pytest.mark.parametrize("seed", range(3))
def test_partial_cross_entropy_equals_plain_loops(seed):
    logits, labels = random_case(seed)
    losses = naive(logits, labels)
    values = [value for members in losses.values() for value in members]
    assert partial_cross_entropy(logits, labels).item() == pytest.approx(sum(values) / len(values))
    weights = torch.tensor([0.5, 2.0, 0.0, 1.5], dtype=torch.float64)
    weighted = sum(float(weights[c]) * sum(members) for c, members in losses.items())
    total = sum(float(weights[c]) * len(members) for c, members in losses.items())
    actual = partial_cross_entropy(logits, labels, class_weights=weights).item()
    assert actual == pytest.approx(weighted / total)


@pytest.mark.parametrize("cap", [None, 1, 3, 5, 10**6])
def test_class_balanced_cross_entropy_equals_plain_loops(cap):
    logits, labels = random_case(4)
    losses = naive(logits, labels)
    votes = {c: 1 if cap is None else min(len(members), cap) for c, members in losses.items()}
    expected = sum(votes[c] * sum(members) / len(members) for c, members in losses.items())
    actual = class_balanced_cross_entropy(logits, labels, cap=cap).item()
    assert actual == pytest.approx(expected / sum(votes.values()))


def test_cap_leads_from_one_vote_per_class_to_one_vote_per_pixel():
    logits, labels = random_case(5)
    plain = partial_cross_entropy(logits, labels)
    torch.testing.assert_close(class_balanced_cross_entropy(logits, labels, cap=1000), plain)
    torch.testing.assert_close(
        class_balanced_cross_entropy(logits, labels, cap=1), class_balanced_cross_entropy(logits, labels)
    )


def test_cap_bounds_the_weight_of_a_rare_class():
    logits = torch.zeros(1, 2, 1, 1000, dtype=torch.float64, requires_grad=True)
    labels = torch.zeros(1, 1, 1000, dtype=torch.int64)
    labels[..., 0] = 1
    rare = {
        cap: gradient(class_balanced_cross_entropy(logits, labels, cap=cap), logits)[0, 1, 0, 0].abs().item()
        for cap in (None, 50)
    }
    assert rare[None] == pytest.approx(0.25)  # half of the whole vote on one pixel
    assert rare[50] == pytest.approx(0.5 / 51)  # one vote among 51


@pytest.mark.parametrize("loss", [partial_cross_entropy, class_balanced_cross_entropy])
def test_gradient_equals_finite_differences(loss):
    logits, labels = random_case(7)
    assert torch.autograd.gradcheck(lambda scores: loss(scores, labels), (logits,))


@pytest.mark.parametrize("loss", [partial_cross_entropy, class_balanced_cross_entropy])
def test_batch_without_label_gives_zero_and_a_gradient(loss):
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((2, 4, 4), 255))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_labels_of_weight_zero_give_zero_not_nan():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    labels = torch.full((1, 2, 2), 1)
    value = partial_cross_entropy(logits, labels, class_weights=torch.tensor([1.0, 0.0, 1.0]))
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(logits.grad).all()


def test_16_bit_logits_are_summed_in_32_bits():
    logits, labels = random_case(8)
    value = partial_cross_entropy(logits.detach().bfloat16(), labels)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(partial_cross_entropy(logits, labels).item(), rel=0.05)


@pytest.mark.parametrize(
    ("logits", "labels", "match"),
    [
        (torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 3, dtype=torch.int64), "labels"),
        (torch.zeros(3, 2, 2), torch.zeros(3, 2, dtype=torch.int64), "logits"),
        (torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2), "int64"),
        (torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 3), r"\[0, 3\)"),
        (torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), -1), "found -1"),
    ],
)
@pytest.mark.parametrize("loss", [partial_cross_entropy, class_balanced_cross_entropy])
def test_wrong_arguments_are_named(loss, logits, labels, match):
    with pytest.raises(InvalidParameterError, match=match):
        loss(logits, labels)


def test_wrong_options_are_named():
    logits, labels = random_case(9)
    with pytest.raises(InvalidParameterError, match="class_weights"):
        partial_cross_entropy(logits, labels, class_weights=torch.ones(3))
    with pytest.raises(InvalidParameterError, match="cap"):
        class_balanced_cross_entropy(logits, labels, cap=0)
