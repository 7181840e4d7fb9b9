from __future__ import annotations

import copy

import torch
from torch import nn

from icss_core.compute.layout import to_channels_last


def test_as_torch_does_it_where_torch_can() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5))
    expected = copy.deepcopy(network).to(memory_format=torch.channels_last)
    to_channels_last(network)
    for one, other in zip(network.state_dict().values(), expected.state_dict().values(), strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()


def test_weights_of_five_axes_stay() -> None:
    network = nn.Sequential(nn.Conv3d(3, 4, (3, 3, 1)), nn.Conv2d(3, 4, 3))
    strides = network[0].weight.stride()
    to_channels_last(network)
    assert network[0].weight.stride() == strides
    assert network[1].weight.is_contiguous(memory_format=torch.channels_last)
