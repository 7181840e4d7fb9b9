from __future__ import annotations

import numpy as np
import pytest

from icss_core.clicks.click_set import ClickSet
from icss_core.clicks.pseudo_labels import PseudoLabelSelector
from icss_core.errors import InvalidParameterError

HEIGHT, WIDTH = 60, 45


def memory_map(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels 0 to 3 and 255, and confidences with many exact ties."""
    generator = np.random.default_rng(seed)
    labels = generator.choice([0, 1, 2, 3, 255], (HEIGHT, WIDTH), p=[0.4, 0.3, 0.2, 0.05, 0.05])
    confidence = generator.choice([0.5, 0.9, 0.995, 1.0], (HEIGHT, WIDTH))
    confidence += np.where(
        generator.random((HEIGHT, WIDTH)) < 0.5, 0, -generator.random((HEIGHT, WIDTH)) / 100
    )
    return labels.astype(np.uint8), confidence.astype(np.float32)


def some_clicks(seed: int) -> ClickSet:
    pixels = np.random.default_rng(seed).permutation(HEIGHT * WIDTH)[:300]
    return ClickSet(pixels // WIDTH, pixels % WIDTH, np.full(300, 4))


def streamed(
    selector: PseudoLabelSelector, labels: np.ndarray, confidence: np.ndarray, rows: int
) -> ClickSet:
    for row in range(0, HEIGHT, rows):
        selector.write(row, labels[row : row + rows], confidence[row : row + rows])
    return selector.clicks()


def pixels_of(clicks: ClickSet, label: int) -> set[tuple[int, int]]:
    chosen = clicks.of([label])
    return set(zip(chosen.rows.tolist(), chosen.cols.tolist(), strict=True))


@pytest.mark.parametrize("per_class", [1, 7, 50, 400])
def test_top_n_takes_the_most_confident_of_the_whole_map(per_class):
    labels, confidence = memory_map(0)
    clicks = some_clicks(1)
    selector = PseudoLabelSelector(limits={1: per_class, 3: per_class}, kind="top_n", clicks=clicks)
    chosen = streamed(selector, labels, confidence, rows=8)
    clicked = pixels_of(clicks, 4)
    for label in (1, 3):
        pixels = pixels_of(chosen, label)
        candidates = {(int(r), int(c)) for r, c in np.argwhere(labels == label)} - clicked
        assert pixels <= candidates
        assert len(pixels) == min(per_class, len(candidates))
        # the multiset of confidences is that of a sort of the whole array; only ties may be chosen freely
        taken = sorted((float(confidence[pixel]) for pixel in pixels), reverse=True)
        best = sorted((float(confidence[pixel]) for pixel in candidates), reverse=True)
        assert taken == best[: len(taken)]
    assert set(chosen.counts()) == {1, 3}


@pytest.mark.parametrize("per_class", [5, 80, 10**4])
def test_threshold_samples_only_pixels_above_it(per_class):
    labels, confidence = memory_map(2)
    clicks = some_clicks(3)
    selector = PseudoLabelSelector(limits={1: per_class, 2: per_class}, kind="threshold", clicks=clicks)
    chosen = streamed(selector, labels, confidence, rows=16)
    for label in (1, 2):
        sure = (labels == label) & (confidence > 0.99)
        candidates = {(int(r), int(c)) for r, c in np.argwhere(sure)} - pixels_of(clicks, 4)
        pixels = pixels_of(chosen, label)
        assert pixels <= candidates
        assert len(pixels) == min(per_class, len(candidates))


@pytest.mark.parametrize("kind", ["top_n", "threshold"])
def test_choice_does_not_depend_on_how_the_rows_are_cut(kind):
    labels, confidence = memory_map(4)
    results = [
        streamed(PseudoLabelSelector(limits={2: 40, 1: 40}, kind=kind, seed=5), labels, confidence, rows)
        for rows in (1, 7, HEIGHT)
    ]
    assert results[0] == results[1] == results[2]
    other = PseudoLabelSelector(limits={2: 40, 1: 40}, kind=kind, seed=6)
    assert streamed(other, labels, confidence, 7) != results[0]


def test_sample_is_uniform():
    """Over many seeds every candidate is taken about equally often."""
    labels = np.ones((4, 25), np.uint8)
    confidence = np.ones((4, 25), np.float32)
    hits = np.zeros((4, 25))
    seeds = 400
    for seed in range(seeds):
        selector = PseudoLabelSelector(limits={1: 20}, kind="threshold", seed=seed)
        selector.write(0, labels, confidence)
        clicks = selector.clicks()
        hits[clicks.rows, clicks.cols] += 1
    expected, spread = seeds * 0.2, (seeds * 0.2 * 0.8) ** 0.5
    assert abs(hits - expected).max() < 4.5 * spread
    # without replacement, the chi-square of 100 cells has mean about 80 (99 x 0.8)
    assert 40 < ((hits - expected) ** 2 / expected).sum() < 130


def test_ties_spread_over_the_raster_instead_of_its_top():
    labels, confidence = np.ones((100, 50), np.uint8), np.ones((100, 50), np.float32)
    selector = PseudoLabelSelector(limits={1: 100}, kind="top_n")
    for row in range(0, 100, 10):
        selector.write(row, labels[row : row + 10], confidence[row : row + 10])
    rows = selector.clicks().rows
    assert 40 < rows.mean() < 60
    assert len(np.unique(rows // 10)) == 10


def test_memory_is_bounded_by_the_number_kept():
    selector = PseudoLabelSelector(limits={1: 10}, kind="top_n")
    generator = np.random.default_rng(0)
    for row in range(0, 200, 10):
        selector.write(row, np.ones((10, 300), np.uint8), generator.random((10, 300), np.float32))
        assert len(selector._kept[1]) <= 10


def test_top_n_may_have_a_threshold_too():
    labels, confidence = memory_map(7)
    selector = PseudoLabelSelector(limits={3: 10**4}, kind="top_n", threshold=0.9)
    chosen = streamed(selector, labels, confidence, 16)
    assert len(chosen) == int(((labels == 3) & (confidence > 0.9)).sum())


@pytest.mark.parametrize("kind", ["top_n", "threshold"])
def test_nothing_to_take_is_no_error(kind):
    selector = PseudoLabelSelector(limits={1: 5, 9: 5}, kind=kind)
    nan = np.full((2, 3), np.nan, np.float32)
    selector.write(0, np.ones((2, 3), np.uint8), nan)
    assert len(selector.clicks()) == 0
    selector = PseudoLabelSelector(limits={}, kind=kind)
    selector.write(0, np.ones((2, 3), np.uint8), np.ones((2, 3), np.float32))
    assert len(selector.clicks()) == 0
    selector = PseudoLabelSelector(limits={1: 0}, kind=kind)
    selector.write(0, np.ones((2, 3), np.uint8), np.ones((2, 3), np.float32))
    assert len(selector.clicks()) == 0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"limits": {0: 5, 1: 5}}, "classes of interest"),
        ({"limits": {255: 5}}, "1 to 254"),
        ({"limits": {1: -1}}, "limits"),
        ({"kind": "best"}, "top_n"),
        ({"threshold": 1.5}, r"\[0, 1\]"),
    ],
)
def test_wrong_arguments_are_named(options, match):
    with pytest.raises(InvalidParameterError, match=match):
        PseudoLabelSelector(**({"limits": {1: 5}, "kind": "top_n"} | options))


def test_missing_confidence_is_named():
    selector = PseudoLabelSelector(limits={1: 5}, kind="top_n")
    with pytest.raises(InvalidParameterError, match="confidence=True"):
        selector.write(0, np.ones((2, 3), np.uint8), None)


@pytest.mark.parametrize("rows", [1, 7, 60])
def test_a_weighted_sample_prefers_confident_pixels_as_their_odds_say(rows):
    """Inclusion rates over many seeds against NumPy's own weighted draw without replacement."""
    labels = np.full((HEIGHT, WIDTH), 1, np.uint8)
    levels = np.array([0.5, 0.6, 0.75, 0.9], np.float32)
    confidence = np.random.default_rng(0).choice(levels, (HEIGHT, WIDTH))
    odds = (confidence.astype(float) / (1 - confidence)) ** 2
    taken, expected = np.zeros(4), np.zeros(4)
    for seed in range(30):
        selector = PseudoLabelSelector(limits={1: 300}, kind="weighted", seed=seed)
        chosen = streamed(selector, labels, confidence, rows)
        assert len(chosen) == 300
        drawn = np.random.default_rng(seed).choice(
            labels.size, 300, replace=False, p=odds.ravel() / odds.sum()
        )
        for position, level in enumerate(levels):
            taken[position] += (confidence[chosen.rows, chosen.cols] == level).sum()
            expected[position] += (confidence.ravel()[drawn] == level).sum()
    assert (np.abs(taken - expected) < 5 * np.sqrt(expected)).all(), (taken, expected)


def test_a_weighted_sample_finds_pixels_where_the_network_is_sure_of_none():
    labels = np.full((HEIGHT, WIDTH), 1, np.uint8)
    confidence = np.full((HEIGHT, WIDTH), 0.51, np.float32)
    found = {}
    for kind in ("threshold", "weighted"):
        selector = PseudoLabelSelector(limits={1: 50}, kind=kind)
        found[kind] = len(streamed(selector, labels, confidence, 8))
    assert found == {"threshold": 0, "weighted": 50}


def test_a_weighted_sample_does_not_depend_on_how_rows_are_cut():
    labels, confidence = memory_map(4)
    cut = []
    for rows in (1, 8, 60):
        selector = PseudoLabelSelector(limits={1: 40, 2: 40}, kind="weighted", seed=3)
        cut.append(streamed(selector, labels, confidence, rows))
    assert cut[0] == cut[1] == cut[2]
