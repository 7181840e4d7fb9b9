from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_cases import gradient
from torch.nn import functional

from icss_core.errors import InvalidParameterError
from icss_core.losses import point_triplet_loss

MARGIN = 0.4


def random_case(stride: int = 4, labelled: float = 0.04) -> tuple[torch.Tensor, torch.Tensor]:
    """A dozen labelled pixels of three classes, the background's among them, in two images."""
    generator = torch.Generator().manual_seed(stride)
    features = torch.randn(2, 5, 3, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 3 * stride, 4 * stride), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) >= labelled * 16 / stride**2] = 255
    return features.requires_grad_(), labels


def points_of(labels: torch.Tensor) -> list[tuple[int, int, int]]:
    return [where for where in np.ndindex(*labels.shape) if int(labels[where]) != 255]


def naive_triplets(labels: torch.Tensor) -> list[tuple[tuple[int, int, int], ...]]:
    points = points_of(labels)
    return [
        (a, p, n)
        for a in points
        for p in points
        for n in points
        if a != p and labels[a] == labels[p] and labels[a] != labels[n]
    ]


def feature_at(features: torch.Tensor, labels: torch.Tensor, where: tuple[int, int, int]) -> torch.Tensor:
    image, row, col = where
    height, width = features.shape[2:]
    cell = features[image, :, row * height // labels.shape[1], col * width // labels.shape[2]]
    return cell / cell.square().sum().sqrt()


def naive_loss(features: torch.Tensor, labels: torch.Tensor, margin: float) -> torch.Tensor:
    found = {where: feature_at(features, labels, where) for where in points_of(labels)}
    losses = []
    for a, p, n in naive_triplets(labels):
        near, far = (found[a] - found[p]).square().sum(), (found[a] - found[n]).square().sum()
        losses.append((near - far + margin).clamp(min=0))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("stride", [1, 4, 8])
@pytest.mark.parametrize("margin", [0.0, MARGIN, 4.0])
def test_value_and_gradient_equal_plain_loops_over_triplets(stride, margin):
    features, labels = random_case(stride)
    assert len(naive_triplets(labels)) > 50
    value = point_triplet_loss(features, labels, margin=margin, per_class=100)
    expected = naive_loss(features, labels, margin)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient(value, features), gradient(expected, features))


def test_equals_torchs_triplet_loss_of_the_triplets():
    features, labels = random_case()
    anchor, positive, negative = (
        torch.stack([feature_at(features, labels, triplet[place]) for triplet in naive_triplets(labels)])
        for place in range(3)
    )
    expected = functional.triplet_margin_with_distance_loss(
        anchor,
        positive,
        negative,
        distance_function=lambda x, y: (x - y).square().sum(dim=1),
        margin=MARGIN,
    )
    value = point_triplet_loss(features, labels, margin=MARGIN, per_class=100)
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("per_class", [2, 100])
def test_gradient_equals_finite_differences(per_class):
    features, labels = random_case()
    assert torch.autograd.gradcheck(
        lambda values: point_triplet_loss(values, labels, margin=MARGIN, per_class=per_class), (features,)
    )


def test_points_are_compared_across_images():
    features, labels = random_case()
    labels[:] = 255
    labels[0, 0, 0], labels[1, 5, 5], labels[1, 11, 15] = 1, 1, 2
    value = point_triplet_loss(features, labels, margin=4, per_class=2)
    torch.testing.assert_close(value, naive_loss(features, labels, 4))
    for image in range(2):
        alone = point_triplet_loss(features[image, None], labels[image, None], margin=4, per_class=2)
        assert alone == 0


@pytest.mark.parametrize("per_class", [2, 3, 7])
def test_of_many_pixels_those_at_even_steps_count(per_class):
    """Class by class, pixels at even steps of the scan order; a class with fewer keeps all."""
    features, labels = random_case(labelled=0.4)
    labels[labels == 2] = 255
    labels[1, -1, -2:] = 2
    expected = torch.full_like(labels, 255)
    for label in range(3):
        points = [where for where in points_of(labels) if int(labels[where]) == label]
        kept = min(per_class, len(points))
        for index in range(kept):
            expected[points[-(-index * len(points) // kept)]] = label
    assert [int((expected == label).sum()) for label in range(3)] == [per_class, per_class, 2]
    value = point_triplet_loss(features, labels, margin=MARGIN, per_class=per_class)
    torch.testing.assert_close(value, naive_loss(features, expected, MARGIN))
    assert torch.equal(value, point_triplet_loss(features, labels, margin=MARGIN, per_class=per_class))


def no_triplet() -> dict[str, list[int]]:
    return {"nothing labelled": [], "one class": [1, 1, 1], "no pair": [0, 1, 2]}


@pytest.mark.parametrize("classes", no_triplet().values(), ids=no_triplet())
def test_without_a_triplet_it_is_zero_with_a_gradient_path(classes):
    features, labels = random_case()
    labels[:] = 255
    for place, label in enumerate(classes):
        labels[place % 2, 3 * place, 5 * place] = label
    value = point_triplet_loss(features, labels, margin=MARGIN, per_class=5)
    assert value.requires_grad
    assert value == 0
    assert torch.equal(gradient(value, features), torch.zeros_like(features))


def test_the_length_of_features_does_not_matter_and_none_at_all_is_finite():
    features, labels = random_case()
    value = point_triplet_loss(features, labels, margin=MARGIN, per_class=5)
    torch.testing.assert_close(point_triplet_loss(7 * features, labels, margin=MARGIN, per_class=5), value)
    nothing = torch.zeros_like(features, requires_grad=True)
    value = point_triplet_loss(nothing, labels, margin=MARGIN, per_class=5)
    assert value.item() == pytest.approx(MARGIN)
    assert torch.isfinite(gradient(value, nothing)).all()


def test_16_bit_features_are_compared_in_32_bits():
    features, labels = random_case()
    low = features.detach().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = point_triplet_loss(low, labels, margin=MARGIN, per_class=100)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, naive_loss(low.double(), labels, MARGIN).float())


def test_wrong_arguments_are_named():
    features, labels = random_case()
    for margin in (-0.1, float("nan"), float("inf")):
        with pytest.raises(InvalidParameterError, match="margin"):
            point_triplet_loss(features, labels, margin=margin, per_class=5)
    with pytest.raises(InvalidParameterError, match="at least 2 pixels, not 1"):
        point_triplet_loss(features, labels, margin=MARGIN, per_class=1)
    for wrong, complaint in (
        (labels[:, :-1], "whole multiple"),
        (labels[0], "labels"),
        (labels.int(), "int64"),
        (labels - 1, r"\[0, 255\]"),
    ):
        with pytest.raises(InvalidParameterError, match=complaint):
            point_triplet_loss(features, wrong, margin=MARGIN, per_class=5)
