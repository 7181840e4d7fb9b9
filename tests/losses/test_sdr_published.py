from __future__ import annotations

import pytest
import torch
from golden_cases import FLOAT_TYPES, golden_cases, gradient

from icss_core.errors import InvalidParameterError
from icss_core.losses import published_sdr_terms


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_two_batches_in_a_row_match_reference_values(dtype):
    for case in golden_cases("icss", "sdr_published"):
        name = "features" if case.has("features0") else "logits"
        previous = None
        for batch in (0, 1):
            features = case.tensor(f"{name}{batch}", dtype, grad=True)
            if previous is None:
                previous = torch.zeros(case.constants["n_classes"], features.shape[1], dtype=dtype)
            terms, previous = published_sdr_terms(
                features,
                case.tensor(f"labels{batch}", dtype),
                previous,
                every_label=not case.constants["latent_space"],
            )
            for term, value in terms._asdict().items():
                case.check(f"{term}{batch}", value, dtype)
            case.check(f"grad{batch}", gradient(terms.total(), features), dtype)
            case.check(f"prototypes{batch}", previous, dtype)


@pytest.mark.parametrize("every_label", [True, False])
def test_terms_equal_masked_copies_of_the_features(every_label):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 5, 2, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 8, 12), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) > 0.4] = 255
    previous = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    terms, means = published_sdr_terms(features, labels, previous, every_label=every_label)
    if every_label:
        maps, seen = features.repeat_interleave(4, 2).repeat_interleave(4, 3), labels
    else:
        maps, seen = features, labels[:, ::4, ::4]
    rows = maps.permute(0, 2, 3, 1)
    expected = torch.stack([rows[seen == c].mean(dim=0) for c in range(3)])
    torch.testing.assert_close(means, expected)
    table = torch.zeros(3, 3, dtype=torch.float64)
    for c in range(3):
        masked = rows * (seen == c)[..., None]
        for j in range(3):
            table[c, j] = (masked - expected[j]).square().mean()
    assert terms.match.item() == pytest.approx((expected - previous).square().mean().item())
    assert terms.attract.item() == pytest.approx(table.diag().mean().item())
    assert terms.repulse.item() == pytest.approx((1 / table[~torch.eye(3, dtype=bool)]).mean().item())


def test_batches_without_a_label_give_zeros_and_a_gradient():
    features = torch.randn(1, 4, 2, 2, requires_grad=True)
    terms, means = published_sdr_terms(features, torch.full((1, 8, 8), 255), torch.zeros(3, 4))
    assert [float(term.detach()) for term in terms] == [0, 0, 0]
    assert not gradient(terms.total(), features).any()
    assert means.isnan().all()


def test_previous_means_that_do_not_fit_are_named():
    with pytest.raises(InvalidParameterError, match="previous"):
        published_sdr_terms(torch.zeros(1, 4, 2, 2), torch.full((1, 8, 8), 255), torch.zeros(3, 5))
