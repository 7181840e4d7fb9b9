"""Norms that get one value per channel; PyTorch's own functions are what they are compared with."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from icss_core.errors import InvalidParameterError
from icss_core.networks.single_values import allow_single_values


def lived_in_norm() -> nn.BatchNorm2d:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(5)
    for one in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        nn.init.uniform_(one, 0.5, 2.0)
    return norm


def test_one_value_is_normalised_by_running_statistics_which_stay() -> None:
    norm, values = lived_in_norm(), torch.rand(1, 5, 1, 1)
    with pytest.raises(ValueError, match="more than 1 value"):
        norm(values)
    before = copy.deepcopy(norm.state_dict())
    expected = functional.batch_norm(values, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    allow_single_values(norm)
    made = norm(values)
    torch.testing.assert_close(made, expected)
    assert norm.training
    assert all(torch.equal(before[name], one) for name, one in norm.state_dict().items())
    made.sum().backward()
    assert norm.weight.grad.abs().sum() > 0


def test_more_values_are_normalised_as_ever() -> None:
    norm = lived_in_norm()
    plain = copy.deepcopy(norm)
    allow_single_values(norm)
    for shape in ((2, 5, 1, 1), (1, 5, 1, 2)):
        values = torch.rand(shape)
        torch.testing.assert_close(norm(values), plain(values), rtol=0, atol=0)
    assert all(torch.equal(plain.state_dict()[name], one) for name, one in norm.state_dict().items())
    assert not norm.eval()(torch.rand(1, 5, 1, 1)).isnan().any()
    assert not norm.training


def test_a_copy_trains_in_the_same_way() -> None:
    norm = lived_in_norm()
    allow_single_values(norm)
    values = torch.rand(1, 5, 1, 1)
    torch.testing.assert_close(copy.deepcopy(norm)(values), norm(values))


@pytest.mark.parametrize(
    "norm",
    [nn.InstanceNorm2d(6), nn.GroupNorm(6, 6), nn.BatchNorm2d(6, track_running_stats=False)],
    ids=lambda norm: type(norm).__name__,
)
def test_norms_without_statistics_refuse_and_say_what_to_do(norm) -> None:
    values = torch.rand(1, 6, 1, 1)
    allow_single_values(norm)
    with pytest.raises(InvalidParameterError, match=f"{type(norm).__name__}.*batch of 1.*larger crops"):
        norm(values)
    assert norm(torch.rand(1, 6, 2, 2)).shape == (1, 6, 2, 2)


def test_group_norms_with_several_channels_in_a_group_are_left_alone() -> None:
    norm, values = nn.GroupNorm(2, 6), torch.rand(1, 6, 1, 1)
    allow_single_values(norm)
    torch.testing.assert_close(norm(values), functional.group_norm(values, 2))
