from __future__ import annotations

import numpy as np
import pytest

from icss_core.clicks.click_set import ClickSet
from icss_core.clicks.simulation import simulate_clicks
from icss_core.errors import InvalidParameterError


def town(seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.choice([0, 1, 2, 255], (80, 70), p=[0.6, 0.3, 0.05, 0.05]).astype(np.uint8)


def test_clicks_lie_on_their_class_and_are_different_pixels():
    mask = town()
    clicks = simulate_clicks(mask, classes=[0, 2, 1], per_class=50, seed=1)
    assert clicks.counts() == {0: 50, 1: 50, 2: 50}
    np.testing.assert_array_equal(mask[clicks.rows, clicks.cols], clicks.labels)
    assert len({*zip(clicks.rows.tolist(), clicks.cols.tolist(), strict=True)}) == 150
    assert clicks.labels.tolist() == [0] * 50 + [2] * 50 + [1] * 50  # in the order asked


def test_same_seed_same_clicks():
    mask = town()
    first = simulate_clicks(mask, classes=[0, 1], per_class=30, seed=7)
    assert first == simulate_clicks(mask, classes=[0, 1], per_class=30, seed=7)
    assert first != simulate_clicks(mask, classes=[0, 1], per_class=30, seed=8)
    # the classes before in the list decide, not those after
    assert first.of([0]) == simulate_clicks(mask, classes=[0], per_class=30, seed=7)


def test_few_or_no_candidates_are_no_error():
    mask = np.zeros((10, 10), np.uint8)
    mask[3, 4] = mask[9, 9] = 1
    clicks = simulate_clicks(mask, classes=[0, 1, 5], per_class=300, seed=0)
    assert clicks.counts() == {0: 98, 1: 2}
    assert simulate_clicks(mask, classes=[1], per_class=0, seed=0) == ClickSet.empty()
    assert simulate_clicks(mask, classes=[], per_class=5, seed=0) == ClickSet.empty()
    assert len(simulate_clicks(np.empty((0, 0), np.uint8), classes=[0], per_class=5, seed=0)) == 0


def test_every_pixel_of_a_class_is_equally_likely():
    mask = np.zeros((5, 20), np.uint8)
    mask[1:4, ::2] = 1  # 30 pixels
    hits = np.zeros(mask.shape)
    seeds = 600
    for seed in range(seeds):
        clicks = simulate_clicks(mask, classes=[1], per_class=6, seed=seed)
        hits[clicks.rows, clicks.cols] += 1
    assert not hits[mask == 0].any()
    expected, spread = seeds * 0.2, (seeds * 0.2 * 0.8) ** 0.5
    assert abs(hits[mask == 1] - expected).max() < 4 * spread


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mask": np.zeros((2, 2), np.int64)}, "uint8"),
        ({"mask": np.zeros((2, 2, 1), np.uint8)}, r"\(H, W\)"),
        ({"classes": [255]}, "0 to 254"),
        ({"classes": [1, 1]}, "different"),
        ({"per_class": -1}, "per_class"),
    ],
)
def test_wrong_arguments_are_named(options, match):
    arguments = {"mask": np.zeros((2, 2), np.uint8), "classes": [0], "per_class": 1, "seed": 0} | options
    mask = arguments.pop("mask")
    with pytest.raises(InvalidParameterError, match=match):
        simulate_clicks(mask, **arguments)
