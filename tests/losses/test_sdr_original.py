from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_cases import FLOAT_TYPES, golden_cases, gradient

from icss_core.errors import InvalidParameterError
from icss_core.losses import class_means, labelled_features, separation, sparsity


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_separation_matches_reference_values(dtype):
    for case in golden_cases("sdr", "repulsion"):
        features, labels = case.tensor("features", dtype, grad=True), case.tensor("labels", dtype)
        if case.constants["skip_background"]:
            labels = labels.masked_fill(labels == 0, 255)
        loss = separation(
            class_means(labelled_features(features, labels), n_classes=case.constants["n_classes"])
        )
        case.check("loss", loss, dtype)
        case.check("grad", gradient(loss, features), dtype)


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_sparsity_matches_reference_values(dtype):
    for case in golden_cases("sdr", "sparsity"):
        features = case.tensor("features", dtype, grad=True)
        loss = sparsity(features, case.tensor("labels", dtype))
        case.check("loss", loss, dtype)
        case.check("grad", gradient(loss, features), dtype)


def test_separation_equals_plain_loops_and_is_zero_with_one_class():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 4, 4), generator=generator)
    means = [features.movedim(1, -1)[labels == c].mean(dim=0).numpy() for c in range(3)]
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    expected = np.mean([1 / np.linalg.norm(means[i] - means[j]) for i, j in pairs])
    value = separation(class_means(labelled_features(features, labels), n_classes=4))
    assert value.item() == pytest.approx(expected)
    alone = torch.zeros_like(labels)
    assert separation(class_means(labelled_features(features, alone), n_classes=4)).item() == 0


def test_sparsity_equals_plain_loops():
    generator = torch.Generator().manual_seed(1)
    features = torch.rand(1, 3, 2, 2, generator=generator, dtype=torch.float64)
    labels = torch.tensor([[[0, 0], [1, 255]]])
    terms = []
    for i, j in np.ndindex(2, 2):
        same = [features[0, :, y, x] for y, x in np.ndindex(2, 2) if labels[0, y, x] == labels[0, i, j]]
        scaled = features[0, :, i, j] / max(float(one.max()) for one in same)
        terms.append(float(scaled.exp().sum() / max(scaled.sum(), 0.1)))
    assert sparsity(features, labels).item() == pytest.approx(np.mean(terms))


def test_a_pixel_without_features_does_not_outweigh_all_others():
    features = torch.rand(1, 64, 2, 2, generator=torch.Generator().manual_seed(3))
    features[0, :, 0, 0] = 0
    features[0, 5, 0, 0] = 1e-6
    features.requires_grad_()
    value = sparsity(features, torch.zeros(1, 2, 2, dtype=torch.int64))
    value.backward()
    assert value.item() < 64 / 0.1
    assert features.grad.norm() < 64 / 0.1


def test_gradients_equal_finite_differences():
    generator = torch.Generator().manual_seed(2)
    features = torch.rand(1, 3, 3, 3, generator=generator, dtype=torch.float64).requires_grad_()
    labels = torch.randint(0, 2, (1, 3, 3), generator=generator)
    assert torch.autograd.gradcheck(lambda values: sparsity(values, labels), (features,))


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(InvalidParameterError, match=r"\(1, 2, 3, 3\) and \(1, 3, 4\)"):
        sparsity(torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 4, dtype=torch.int64))
