from __future__ import annotations

import math

import pytest
import torch
from golden_cases import FLOAT_TYPES, golden_cases
from torch import nn
from torch.nn import functional

from icss_core.errors import InvalidParameterError
from icss_core.networks.head import background_init, extend_classifier


def classifier(bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(6, 4, 3, padding=1, bias=bias).double()


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_background_initialisation_matches_reference_values(dtype):
    for case in golden_cases("mib", "head_init"):
        weight, bias = background_init(
            case.tensor("old_weight", dtype)[..., None, None],
            case.tensor("old_bias", dtype),
            case.constants["n_new"],
        )
        case.check("weight", weight[..., 0, 0], dtype)
        case.check("bias", bias, dtype)
        case.check("logits", functional.conv2d(case.tensor("features", dtype), weight, bias), dtype)


@pytest.mark.parametrize("n_new", [1, 3])
def test_new_classes_share_the_probability_of_the_background(n_new):
    old = classifier()
    grown = extend_classifier(old, n_new, init="background")
    features = torch.randn(2, 6, 5, 5, dtype=torch.float64)
    before, after = torch.softmax(old(features), 1), torch.softmax(grown(features), 1)
    torch.testing.assert_close(after[:, 1:4], before[:, 1:])
    moved = torch.cat([after[:, :1], after[:, 4:]], dim=1)
    torch.testing.assert_close(moved, (before[:, :1] / (n_new + 1)).expand_as(moved))


def test_background_initialisation_leaves_its_arguments():
    weight, bias = torch.ones(2, 3, 1, 1), torch.zeros(2)
    grown = background_init(weight, bias, 1)
    assert not bias.any()
    assert grown[1].tolist() == pytest.approx([-math.log(2), 0, -math.log(2)])
    assert grown[0].shape == (3, 3, 1, 1)


def test_random_initialisation_keeps_old_rows_and_replacement_does_not():
    old = classifier()
    kept = extend_classifier(old, 2, init="random", generator=torch.Generator().manual_seed(3))
    replaced = extend_classifier(old, 2, init="replace", generator=torch.Generator().manual_seed(3))
    assert torch.equal(kept.weight[:4], old.weight)
    assert torch.equal(kept.bias[:4], old.bias)
    assert torch.equal(kept.weight[4:], replaced.weight[4:])
    assert not torch.equal(replaced.weight[:4], old.weight)


@pytest.mark.parametrize("init", ["random", "replace"])
def test_random_rows_come_from_the_generator_and_are_bounded_as_pytorchs(init):
    def grown(seed: int) -> nn.Conv2d:
        return extend_classifier(classifier(), 1, init=init, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(grown(1).weight, grown(1).weight)
    assert not torch.equal(grown(1).weight[4:], grown(2).weight[4:])
    bound = 1 / math.sqrt(6 * 3 * 3)
    assert grown(1).weight[4:].abs().max() <= bound
    assert grown(1).bias[4:].abs().max() <= bound


@pytest.mark.parametrize("init", ["background", "random", "replace"])
def test_grown_classifier_fits_where_the_old_one_was(init):
    old = classifier(bias=False)
    grown = extend_classifier(old, 2, init=init)
    features = torch.randn(1, 6, 7, 8, dtype=torch.float64)
    assert grown(features).shape == (1, 6, 7, 8)
    assert grown.weight.dtype == torch.float64
    assert old.out_channels == 4
    assert all(parameter.requires_grad for parameter in grown.parameters())


def test_unknown_initialisation_is_named():
    with pytest.raises(InvalidParameterError, match="zeros"):
        extend_classifier(classifier(), 1, init="zeros")  # type: ignore[arg-type]  # the point of the test
