from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_cases import FLOAT_TYPES, golden_cases, gradient

from icss_core.errors import InvalidParameterError
from icss_core.losses import draw_anchors, festa_terms
from icss_core.losses.nearest import nearest


def weighted(maps: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    terms = festa_terms(maps, anchors)
    return (0.5 * terms.feature_neighbour + 1.5 * terms.spatial_neighbour + terms.far).mean()


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_terms_and_gradients_match_reference_values(dtype):
    for case in golden_cases("icss", "festa_corrected"):
        maps = case.tensor("maps", dtype, grad=True)
        anchors = case.tensor("anchors", dtype)
        for name, value in festa_terms(maps, anchors)._asdict().items():
            case.check(name, value, dtype)
        loss = weighted(maps, anchors)
        case.check("loss", loss, dtype)
        case.check("grad", gradient(loss, maps), dtype)


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_interior_anchors_match_the_published_code(dtype):
    """Anchors on the border, whose published neighbours wrap to the next row, are refused here."""
    cases = golden_cases("icss", "festa_published")
    for case in (case for case in cases if case.entry["variant"] == "interior anchors"):
        maps = case.tensor("maps", dtype, grad=True)
        loss = weighted(maps, case.tensor("anchors", dtype))
        case.check("loss", loss, dtype)
        case.check("grad", gradient(loss, maps), dtype)


@pytest.mark.parametrize("seed", range(3))
def test_terms_equal_plain_loops(seed):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(2, 3, 7, 9, generator=generator, dtype=torch.float64)
    anchors = draw_anchors(7, 9, fraction=0.1, generator=generator)
    terms = festa_terms(maps, anchors)
    for b in range(2):
        for position, anchor in enumerate(anchors.tolist()):
            row, col = divmod(anchor, 9)
            own = maps[b, :, row, col].numpy()
            squares, beside, cosines = [], [], []
            for i, j in np.ndindex(7, 9):
                other = maps[b, :, i, j].numpy()
                cosines.append(1 + own @ other / (np.linalg.norm(own) * np.linalg.norm(other) + 1e-8))
                if (i, j) == (row, col):
                    continue
                squares.append(np.sum((own - other) ** 2))
                if max(abs(i - row), abs(j - col)) == 1:
                    beside.append(np.sum((own - other) ** 2))
            assert terms.feature_neighbour[b, position].item() == pytest.approx(min(squares))
            assert terms.spatial_neighbour[b, position].item() == pytest.approx(min(beside))
            assert terms.far[b, position].item() == pytest.approx(min(cosines), abs=1e-12)


def test_gradient_equals_finite_differences():
    generator = torch.Generator().manual_seed(3)
    maps = torch.randn(2, 3, 5, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    anchors = draw_anchors(5, 6, fraction=0.2, generator=generator)
    assert torch.autograd.gradcheck(lambda values: weighted(values, anchors), (maps,))


@pytest.mark.parametrize(("height", "width", "channels"), [(64, 64, 3), (70, 45, 2), (33, 8, 6), (3, 3, 1)])
@pytest.mark.parametrize("smooth", [True, False])
def test_the_nearest_are_those_of_a_full_table(height, width, channels, smooth):
    generator = torch.Generator().manual_seed(4)
    maps = torch.randn(1, channels, height, width, generator=generator)
    if smooth:
        maps = torch.nn.functional.avg_pool2d(maps, 5, stride=1, padding=2) * 10
    points = maps[0].flatten(1).T.contiguous()
    chosen = torch.randint(0, len(points), (50,), generator=generator)
    for queries, exclude in ((points[chosen], chosen), (-points[chosen], None)):
        table = torch.cdist(queries.double(), points.double())
        if exclude is not None:
            table[torch.arange(50), exclude] = torch.inf
        found = nearest(queries, points, exclude=exclude)
        reached = table.gather(1, found[:, None])[:, 0]
        torch.testing.assert_close(reached, table.min(dim=1).values, rtol=1e-5, atol=1e-6)


def test_equal_scores_everywhere_give_finite_values_and_gradients():
    maps = torch.zeros(1, 3, 6, 6, requires_grad=True)
    terms = festa_terms(maps, torch.tensor([7, 8]))
    assert terms.feature_neighbour.eq(0).all()
    assert torch.isfinite(gradient(sum(term.sum() for term in terms), maps)).all()


def test_anchors_keep_away_from_the_border_and_cover_the_inside():
    anchors = draw_anchors(6, 9, fraction=20, generator=torch.Generator().manual_seed(0))
    assert len(anchors) == 20 * 54
    rows, cols = anchors // 9, anchors % 9
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (1, 4, 1, 7)
    assert len(anchors.unique()) == 4 * 7


def test_what_does_not_fit_is_named():
    with pytest.raises(InvalidParameterError, match="3 x 3"):
        festa_terms(torch.zeros(1, 3, 2, 8), torch.tensor([9]))
    with pytest.raises(InvalidParameterError, match="anchor 8 lies on or outside"):
        festa_terms(torch.zeros(1, 3, 8, 8), torch.tensor([9, 8]))
    with pytest.raises(InvalidParameterError, match="anchors must be"):
        festa_terms(torch.zeros(1, 3, 8, 8), torch.tensor([9.0]))
