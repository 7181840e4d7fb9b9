from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_cases import FLOAT_TYPES, golden_cases, gradient

from icss_core.errors import InvalidParameterError
from icss_core.losses import (
    Prototypes,
    attraction,
    class_means,
    labelled_features,
    matching,
    repulsion,
    sdr_terms,
)

N_CLASSES = 5


def random_case(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, labels (class 3 absent), memory prototypes, and which of them are known (not 4, and 3)."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 6, 4, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, N_CLASSES, (2, 4, 3), generator=generator)
    labels[labels == 3] = 255
    memory = torch.randn(N_CLASSES, 6, generator=generator, dtype=torch.float64)
    return features.requires_grad_(), labels, memory, torch.tensor([True, True, True, True, False])


def naive(
    features: torch.Tensor, labels: torch.Tensor, memory: torch.Tensor, valid: torch.Tensor
) -> dict[str, dict[object, float]]:
    """The defined terms of each sum, with plain loops over pixels."""
    values = features.detach().numpy()
    pixels: dict[int, list[np.ndarray]] = {}
    for b, i, j in np.ndindex(*labels.shape):
        if int(labels[b, i, j]) != 255:
            pixels.setdefault(int(labels[b, i, j]), []).append(values[b, :, i, j])
    means = {c: sum(members) / len(members) for c, members in pixels.items()}

    def distance(c: int, j: int) -> float:
        return float(np.mean([np.mean((f - means[j]) ** 2) for f in pixels[c]]))

    return {
        "match": {c: float(np.mean((means[c] - memory[c].numpy()) ** 2)) for c in means if valid[c]},
        "attract": {c: distance(c, c) for c in means},
        "repulse": {(c, j): 1 / distance(c, j) for c in means for j in means if c != j},
    }


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_terms_and_gradients_match_reference_values(dtype):
    for case in golden_cases("icss", "sdr_corrected"):
        features = case.tensor("features", dtype, grad=True)
        arguments = (
            features,
            case.tensor("labels", dtype),
            case.tensor("memory_prototypes", dtype),
            case.tensor("memory_valid", dtype),
        )
        published = sdr_terms(*arguments, normalisation="all")
        for name, value in published._asdict().items():
            case.check(name, value, dtype)
            case.check(f"grad_{name}", gradient(value, features), dtype)
        present = sdr_terms(*arguments)
        for name, value in present._asdict().items():
            case.check(f"{name}_present", value, dtype)
        case.check("grad_present_total", gradient(present.total(), features), dtype)


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_attraction_to_constant_prototypes_matches_reference_values(dtype):
    for case in golden_cases("sdr", "attraction"):
        features = case.tensor("features", dtype, grad=True)
        labels = case.tensor("labels", dtype)
        if case.constants["skip_background"]:
            labels = labels.masked_fill(labels == 0, 255)
        means = case.tensor("prototypes", dtype)
        loss = attraction(labelled_features(features, labels), Prototypes(means, torch.ones(len(means))))
        case.check("loss", loss, dtype)
        case.check("grad", gradient(loss, features), dtype)


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_matching_of_the_memory_networks_classes_matches_reference_values(dtype):
    """SDR locates old classes by the memory network's prediction where the labels say background."""
    for case in golden_cases("sdr", "matching"):
        stride = case.constants["stride"]
        features = case.tensor("features", dtype, grad=True)
        old = case.tensor("old_logits", dtype).argmax(dim=1)
        old = old.masked_fill((case.tensor("labels", dtype) != 0) | (old == 0), 255)
        samples = labelled_features(features, old[:, ::stride, ::stride].contiguous())
        means = case.tensor("prototypes", dtype)
        current = class_means(samples, n_classes=len(means))
        loss = matching(current, Prototypes(means, torch.ones(len(means))))
        case.check("loss", loss, dtype)
        case.check("grad", gradient(loss, features), dtype)


@pytest.mark.parametrize("seed", range(4))
def test_terms_equal_plain_loops(seed):
    arguments = random_case(seed)
    expected = naive(*arguments)
    divisors = {"match": N_CLASSES, "attract": N_CLASSES, "repulse": N_CLASSES * (N_CLASSES - 1)}
    present, published = sdr_terms(*arguments), sdr_terms(*arguments, normalisation="all")
    for name, terms in expected.items():
        total = sum(terms.values())
        assert getattr(present, name).item() == pytest.approx(total / len(terms)), name
        assert getattr(published, name).item() == pytest.approx(total / divisors[name]), name


@pytest.mark.parametrize("normalisation", ["present", "all"])
def test_terms_together_equal_terms_one_by_one(normalisation):
    features, labels, memory, valid = random_case(4)
    samples = labelled_features(features, labels)
    current = class_means(samples, n_classes=N_CLASSES)
    together = sdr_terms(features, labels, memory, valid, normalisation=normalisation)
    known = Prototypes(memory, valid.double())
    torch.testing.assert_close(together.match, matching(current, known, normalisation=normalisation))
    torch.testing.assert_close(together.attract, attraction(samples, current, normalisation=normalisation))
    torch.testing.assert_close(together.repulse, repulsion(samples, current, normalisation=normalisation))


@pytest.mark.parametrize("assignment", ["pooled", "bilinear"])
@pytest.mark.parametrize("normalisation", ["present", "all"])
def test_gradient_equals_finite_differences_for_clicks_at_full_resolution(assignment, normalisation):
    features, _, memory, valid = random_case(5)
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(0, N_CLASSES, (2, 32, 24), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) > 0.02] = 255

    def total(values: torch.Tensor) -> torch.Tensor:
        return sdr_terms(
            values, labels, memory, valid, assignment=assignment, normalisation=normalisation
        ).total()

    assert torch.autograd.gradcheck(total, (features,))


def test_nothing_labelled_gives_zeros_and_a_gradient():
    features, labels, memory, valid = random_case(6)
    terms = sdr_terms(features, torch.full_like(labels, 255), memory, valid)
    terms.total().backward()
    assert [float(term.detach()) for term in terms] == [0, 0, 0]
    assert features.grad is not None
    assert not features.grad.any()


def test_equal_features_give_finite_values_and_gradients():
    features = torch.ones(1, 4, 2, 2, requires_grad=True)
    labels = torch.tensor([[[0, 1], [2, 255]]])
    terms = sdr_terms(features, labels, torch.zeros(3, 4), torch.tensor([True, True, False]))
    assert all(torch.isfinite(term) for term in terms)
    assert torch.isfinite(gradient(terms.total(), features)).all()


def test_unknown_memory_prototypes_may_hold_anything():
    features, labels, memory, valid = random_case(7)
    expected = sdr_terms(features, labels, memory, valid)
    memory[4] = float("nan")
    actual = sdr_terms(features, labels, memory, valid)
    assert [t.item() for t in actual] == [t.item() for t in expected]
    assert torch.isfinite(gradient(actual.total(), features)).all()


def test_memory_prototypes_are_constant():
    features, labels, memory, valid = random_case(8)
    memory.requires_grad_()
    assert gradient(sdr_terms(features, labels, memory, valid).total(), memory).abs().sum() == 0


def test_wrong_prototypes_are_named():
    features, labels, memory, valid = random_case(9)
    with pytest.raises(InvalidParameterError, match="memory_prototypes"):
        sdr_terms(features, labels, memory[:, :-1], valid)
    with pytest.raises(InvalidParameterError, match="memory_valid"):
        sdr_terms(features, labels, memory, valid[:-1])
    with pytest.raises(InvalidParameterError, match="'half'"):
        sdr_terms(features, labels, memory, valid, normalisation="half")
    with pytest.raises(InvalidParameterError, match="'nearest'"):
        sdr_terms(features, labels, memory, valid, assignment="nearest")
