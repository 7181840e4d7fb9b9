from __future__ import annotations

import json
import time

import numpy as np
import pytest

from icss_core.clicks.click_set import ClickSet
from icss_core.errors import ClickError
from icss_core.raster.windows import Window


def random_clicks(seed: int, n: int = 200, size: int = 40) -> ClickSet:
    generator = np.random.default_rng(seed)
    return ClickSet(*(generator.integers(0, high, n) for high in (size, size, 4)))


def test_last_click_on_a_pixel_wins_and_order_is_kept():
    clicks = ClickSet([5, 1, 5, 2], [7, 1, 7, 2], [1, 2, 3, 0])
    assert clicks.rows.tolist() == [1, 5, 2]
    assert clicks.cols.tolist() == [1, 7, 2]
    assert clicks.labels.tolist() == [2, 3, 0]


def test_arrays_are_int64_copies_and_read_only():
    rows = np.array([1, 2], np.int32)
    clicks = ClickSet(rows, [3, 4], [0, 1])
    rows[0] = 99
    assert clicks.rows.tolist() == [1, 2]
    assert clicks.rows.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        clicks.labels[0] = 3
    with pytest.raises(AttributeError):
        clicks.rows = rows


def test_label_map_equals_painting_click_by_click():
    clicks = random_clicks(0)
    full = np.full((40, 40), 255, np.uint8)
    for row, col, label in zip(clicks.rows, clicks.cols, clicks.labels, strict=True):
        full[row, col] = label
    np.testing.assert_array_equal(clicks.label_map(Window(0, 0, 40, 40)), full)
    np.testing.assert_array_equal(clicks.label_map(Window(10, 5, 7, 20)), full[10:17, 5:25])
    sticking_out = clicks.label_map(Window(-3, 35, 10, 10))
    np.testing.assert_array_equal(sticking_out[3:, :5], full[:7, 35:])
    assert (sticking_out[:3] == 255).all()
    assert (sticking_out[:, 5:] == 255).all()


def test_within_of_and_select():
    clicks = random_clicks(1)
    inside = clicks.within(Window(10, 10, 5, 6))
    assert len(inside) == int((clicks.label_map(Window(10, 10, 5, 6)) != 255).sum())
    assert set(clicks.of([1, 3]).counts()) == {1, 3}
    assert clicks.select(np.arange(3)).rows.tolist() == clicks.rows[:3].tolist()


def test_counts_and_equality():
    clicks = ClickSet([0, 1, 2], [0, 0, 0], [2, 0, 2])
    assert clicks.counts() == {0: 1, 2: 2}
    assert clicks == ClickSet([0, 1, 2], [0, 0, 0], [2, 0, 2])
    assert clicks != ClickSet([0, 1, 2], [0, 0, 0], [2, 0, 1])
    assert clicks != 3
    assert ClickSet.empty().counts() == {}


def test_merged_gives_the_later_set_the_last_word():
    merged = ClickSet([0, 1], [0, 1], [1, 1]).merged(ClickSet([1, 2], [1, 2], [2, 2]))
    assert merged.rows.tolist() == [0, 1, 2]
    assert merged.labels.tolist() == [1, 2, 2]
    assert ClickSet.empty().merged(merged) == merged


@pytest.mark.parametrize(
    ("rows", "cols", "labels", "match"),
    [
        ([1, -2], [0, 0], [0, 0], "click 1: row -2"),
        ([1], [-1], [0], "column -1"),
        ([1], [0], [255], "label 255"),
        ([1], [0], [-1], "label -1"),
        ([1, 2], [0], [0], "one length"),
        ([1.5], [0], [0], "whole numbers"),
        ([[1]], [[0]], [[0]], "one dimension"),
        ([True], [0], [0], "whole numbers"),
    ],
)
def test_malformed_clicks_are_named(rows, cols, labels, match):
    with pytest.raises(ClickError, match=match):
        ClickSet(rows, cols, labels)


def test_a_hundred_thousand_clicks_are_fast():
    """A budget ten times what it takes, against accidental loops in Python."""
    clicks = random_clicks(4, n=100_000, size=10_000)
    start = time.perf_counter()
    for row in range(100):
        clicks.label_map(Window(row, 0, 256, 256))
    assert time.perf_counter() - start < 2


def test_clicks_survive_json():
    clicks = ClickSet([3, 1, 4], [1, 5, 9], [0, 2, 1])
    assert ClickSet.from_lists(json.loads(json.dumps(clicks.to_lists()))) == clicks
    assert ClickSet.from_lists(ClickSet.empty().to_lists()) == ClickSet.empty()
    for wrong in ({}, {"rows": [1], "cols": [1]}, {"rows": [1], "cols": [[1]], "labels": [1, [2]]}, []):
        with pytest.raises(ClickError):
            ClickSet.from_lists(wrong)
