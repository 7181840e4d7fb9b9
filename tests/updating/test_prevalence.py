"""Prevalence against maximum likelihood by another optimiser, and its bias shift against plain loops."""

import numpy as np
import pytest
import torch
from bars_and_blocks import BUILDING, CPU, OLD, picture, pretrained
from scipy.optimize import minimize

from icss_core.clicks import simulate_clicks
from icss_core.errors import InvalidParameterError
from icss_core.methods import get_preset
from icss_core.updating import Runtime, update
from icss_core.updating.prevalence import SeenLogits, estimate_prevalence, prevalence_shift


def mixture(shares: list[float], n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Classes of points of Gaussians two apart, and their posteriors where all classes are equally common."""
    rng = np.random.default_rng(seed)
    centres = 2.0 * np.arange(len(shares))
    classes = rng.choice(len(shares), size=n, p=shares)
    values = rng.normal(centres[classes], 1)
    likelihood = np.exp(-0.5 * np.square(values[:, None] - centres))
    return classes, likelihood / likelihood.sum(1, keepdims=True)


@pytest.mark.parametrize("trained", [[1, 1, 1], [1, 2, 5]])
def test_the_estimate_is_the_maximum_of_the_likelihood(trained):
    shares = [0.9, 0.02, 0.08]
    _, equal = mixture(shares)
    pi = np.array(trained) / sum(trained)
    posteriors = equal * pi
    posteriors /= posteriors.sum(1, keepdims=True)

    def surprise(x: np.ndarray) -> float:
        q = np.exp(x - x.max()) / np.exp(x - x.max()).sum()
        return -np.log((posteriors * q / pi).sum(1)).mean()

    best = minimize(surprise, np.zeros(3), method="BFGS", tol=1e-10).x
    expected = np.exp(best) / np.exp(best).sum()
    found = estimate_prevalence(
        torch.from_numpy(posteriors), torch.tensor(trained, dtype=torch.float32), iterations=2000
    )
    np.testing.assert_allclose(found, expected, atol=2e-4)
    np.testing.assert_allclose(found, shares, atol=0.01)


def test_a_weight_counts_like_repetition():
    _, posteriors = mixture([0.7, 0.3], n=60)
    weights = np.random.default_rng(1).integers(0, 4, 60)
    repeated = estimate_prevalence(torch.from_numpy(np.repeat(posteriors, weights, axis=0)), torch.ones(2))
    found = estimate_prevalence(
        torch.from_numpy(posteriors), torch.ones(2), weights=torch.from_numpy(weights)
    )
    torch.testing.assert_close(found, repeated)


def test_nothing_seen_changes_nothing():
    found = estimate_prevalence(torch.empty(0, 2), torch.tensor([1.0, 3.0]))
    assert found.tolist() == [0.25, 0.75]
    seen = SeenLogits(torch.empty(0, 3), torch.empty(0, 3), torch.empty(0, dtype=torch.int64))
    assert prevalence_shift(seen, torch.ones(2), n_old=2, clicks_kept=0.9).tolist() == [0]


@pytest.mark.parametrize("trained", [torch.ones(3), torch.tensor([1.0, 0.0])])
def test_frequencies_that_do_not_fit(trained):
    with pytest.raises(InvalidParameterError, match="positive frequencies"):
        estimate_prevalence(torch.full((4, 2), 0.5), trained)


def seen_of(share: float, seed: int) -> SeenLogits:
    """Logits of background, an old class without pixels and a new class; 40 clicks of first and last."""
    classes, posteriors = mixture([1 - share, share], seed=seed)
    logits = np.log(np.stack([posteriors[:, 0], np.full(len(classes), 1e-3), posteriors[:, 1]], 1))
    chosen = np.concatenate([np.flatnonzero(classes == label)[:40] for label in (0, 1)])
    return SeenLogits(
        torch.from_numpy(logits), torch.from_numpy(logits[chosen]), torch.from_numpy(classes[chosen] * 2)
    )


@pytest.mark.parametrize("share", [0.03, 0.97])
def test_a_rare_class_gets_a_smaller_bias_and_a_common_one_a_larger(share):
    shift = prevalence_shift(seen_of(share, 0), torch.ones(2), n_old=2, clicks_kept=0)
    assert float(shift) == pytest.approx(np.log(share / (1 - share)), abs=0.4)


def test_two_new_classes_are_weighed_against_the_background_and_each_other():
    shares = [0.8, 0.15, 0.05]
    _, posteriors = mixture(shares, n=8000)
    # the old class of interest has half of each pixel's probability: it must not matter
    logits = np.log(np.insert(posteriors / 2, 1, 0.5, axis=1))
    seen = SeenLogits(torch.from_numpy(logits), torch.empty(0, 4), torch.empty(0, dtype=torch.int64))
    assert prevalence_shift(seen, torch.ones(3), n_old=2, clicks_kept=0.5).tolist() == [0, 0], (
        "no click, no shift"
    )
    sure = torch.tensor([[9.0, 0, 0, 0], [0, 0, 9, 0], [0, 0, 0, 9]], dtype=torch.float64)
    seen = seen._replace(clicks=sure, labels=torch.tensor([0, 2, 3]))
    shift = prevalence_shift(seen, torch.ones(3), n_old=2, clicks_kept=1)
    np.testing.assert_allclose(shift, [np.log(0.15 / 0.8), np.log(0.05 / 0.8)], atol=0.1)


@pytest.mark.parametrize("share", [0.03, 0.97])
@pytest.mark.parametrize("clicks_kept", [1.0, 0.9, 0.7])
def test_clicks_that_were_right_stay_right(share, clicks_kept):
    seen = seen_of(share, 1)
    free = float(prevalence_shift(seen, torch.ones(2), n_old=2, clicks_kept=0))
    shift = float(prevalence_shift(seen, torch.ones(2), n_old=2, clicks_kept=clicks_kept))
    mine = [label == 2 if free < 0 else label != 2 for label in seen.labels.tolist()]
    before = after = 0
    for row, label, one in zip(seen.clicks.tolist(), seen.labels.tolist(), mine, strict=True):
        if one and int(np.argmax(row)) == label:
            before += 1
            after += int(np.argmax([row[0], row[1], row[2] + shift])) == label
    assert after >= clicks_kept * before
    assert abs(shift) < abs(free)
    assert shift * free >= 0


def test_an_update_shifts_nothing_but_the_new_classes_biases():
    memory, (source, truth) = pretrained(), picture(77)
    clicks = simulate_clicks(truth, classes=[0, 2], per_class=30, seed=0)
    overrides = {
        "optimisation.iterations": 6,
        "optimisation.precision": "float32",
        "crops.size": 64,
        "prevalence.clicks_kept": 0.0,
    }
    shifted, plain = (
        update(
            memory, OLD, source, clicks, [BUILDING],
            get_preset("icss", {**overrides, "prevalence.iterations": iterations}),
            runtime=Runtime(device=CPU),
        ).network
        for iterations in (1000, 0)
    )  # fmt: skip
    other = shifted.state_dict()
    (bias,) = (name for name, value in plain.named_parameters() if value is plain.classifier.bias)
    for name, value in plain.state_dict().items():
        if name != bias:
            torch.testing.assert_close(other[name], value, rtol=0, atol=0)
    change = (shifted.classifier.bias - plain.classifier.bias).tolist()
    assert change[:2] == [0, 0]
    with torch.inference_mode():
        logits = plain(torch.from_numpy(source._values)[None]).logits[0].double().flatten(1).T.numpy()
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    ratio = 0.5
    for _ in range(1000):
        odds = p[:, 2] * ratio / (p[:, 2] * ratio + p[:, 0] * (1 - ratio))
        mass = p[:, 0] + p[:, 2]
        ratio = (mass * odds).sum() / mass.sum()
    assert change[2] == pytest.approx(np.log(ratio / (1 - ratio)), abs=0.01)
