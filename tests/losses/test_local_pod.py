from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from golden_cases import FLOAT_TYPES, golden_cases, gradient

from icss_core.errors import InvalidParameterError
from icss_core.losses import local_pod, merge_into_background


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_matches_reference_values(dtype):
    for case in golden_cases("plop", "local_pod"):
        constants = case.constants
        layers = range(len(constants["factors"]))
        new = [case.tensor(f"new{i}", dtype, grad=True) for i in layers]
        old = [case.tensor(f"old{i}", dtype) for i in layers]
        maps = [*new[:-1], merge_into_background(new[-1], constants["n_old"])]
        loss = local_pod(maps, old, constants["factors"], scales=constants["scales"])
        loss = loss * math.sqrt(constants["n_all"] / constants["n_new"])
        case.check("loss", loss, dtype)
        for i in layers:
            case.check(f"grad{i}", gradient(loss, new[i]), dtype)


def test_equals_plain_loops_on_a_map_that_is_not_square():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 2, 3, 5, 7, generator=generator, dtype=torch.float64)
    vectors = []
    for values in (one.numpy() ** 2, other.numpy() ** 2):
        rows = []
        for b in range(2):
            entries = []
            for scale in (1, 2):
                high, wide = 5 // scale, 7 // scale
                for c, i, j in np.ndindex(3, scale, scale):
                    cell = values[b, c, i * high : (i + 1) * high, j * wide : (j + 1) * wide]
                    entries += [cell[y].mean() for y in range(high)]
                    entries += [cell[:, x].mean() for x in range(wide)]
            rows.append(entries)
        vectors.append(np.array(rows))
    # the order of the entries does not change a distance as long as both have the same
    expected = np.sqrt(((vectors[0] - vectors[1]) ** 2).sum(axis=1)).mean() * 0.5
    assert local_pod([one], [other], [0.5], scales=(1, 2)).item() == pytest.approx(expected)


def test_equal_maps_have_distance_and_gradient_zero():
    values = torch.rand(2, 3, 8, 8, requires_grad=True)
    loss = local_pod([values], [values.detach()], [1.0])
    assert loss.item() == 0
    assert not gradient(loss, values).any()


def test_gradient_equals_finite_differences():
    generator = torch.Generator().manual_seed(1)
    one, other = torch.randn(2, 1, 2, 4, 5, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda values: local_pod([values], [other], [1.0]), one.requires_grad_())


def test_wrong_arguments_are_named():
    with pytest.raises(InvalidParameterError, match="as many maps"):
        local_pod([], [], [])
    with pytest.raises(InvalidParameterError, match="at least 4 high"):
        local_pod([torch.zeros(1, 1, 3, 8)], [torch.zeros(1, 1, 3, 8)], [1.0])
