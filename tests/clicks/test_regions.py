"""Points and scribbles drawn from ground truth."""

import numpy as np
import pytest
from scipy import ndimage

from icss_core.clicks import point_per_region, scribble_per_region
from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE


def patchwork(seed: int = 0) -> np.ndarray:
    """Blobs of four classes with a strip that nobody knows."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(150, 210)), 9)
    mask = np.digitize(noise, np.quantile(noise, [0.3, 0.5, 0.8])).astype(np.uint8)
    mask[:, 100:104] = IGNORE
    return mask


def pieces(mask: np.ndarray, smallest: int) -> list[tuple[int, np.ndarray]]:
    """By flood fill, pixel by pixel."""
    left, found = mask.copy(), []
    for start in np.ndindex(mask.shape):
        label = left[start]
        if label == IGNORE:
            continue
        stack, here = [start], []
        left[start] = IGNORE
        while stack:
            row, col = stack.pop()
            here.append((row, col))
            for place in ((row + 1, col), (row - 1, col), (row, col + 1), (row, col - 1)):
                inside = 0 <= place[0] < mask.shape[0] and 0 <= place[1] < mask.shape[1]
                if inside and left[place] == label and label != IGNORE:
                    left[place] = IGNORE
                    stack.append(place)
        if len(here) >= smallest:
            found.append((int(label), np.array(here)))
    return found


def test_every_piece_has_one_point_of_its_class():
    mask = patchwork()
    points = point_per_region(mask, seed=1, smallest=20)
    expected = pieces(mask, 20)
    assert len(expected) > 8
    for label, places in expected:
        labels = points[tuple(places.T)]
        assert (labels != IGNORE).sum() == 1
        assert labels[labels != IGNORE] == label
    assert (points != IGNORE).sum() == len(expected)
    np.testing.assert_array_equal(points, point_per_region(mask, seed=1, smallest=20))
    assert (points != point_per_region(mask, seed=2, smallest=20)).any()


def test_points_are_anywhere_in_a_piece():
    mask = np.zeros((8, 8), np.uint8)
    hit = sum((point_per_region(mask, seed=seed) == 0).astype(int) for seed in range(640))
    assert hit.min() > 0
    assert hit.max() < 30


def test_every_piece_has_one_line_that_stays_inside():
    mask = patchwork(3)
    scribbles = scribble_per_region(mask, smallest=60, width=1)
    drawn = scribbles != IGNORE
    np.testing.assert_array_equal(scribbles[drawn], mask[drawn])
    expected = pieces(mask, 60)
    assert len(expected) > 5
    for label, places in expected:
        mine = np.zeros(mask.shape, bool)
        mine[tuple(places.T)] = True
        line = mine & (scribbles == label)
        assert line.any()
        _, parts = ndimage.label(line, np.ones((3, 3)))
        assert parts == 1
    assert drawn.sum() == sum((scribbles[tuple(places.T)] != IGNORE).sum() for _, places in expected)


def test_a_line_runs_along_the_middle_of_a_band():
    mask = np.full((60, 300), IGNORE, np.uint8)
    rows = 30 + np.rint(12 * np.sin(np.arange(300) / 40)).astype(int)
    for col, row in enumerate(rows):
        mask[row - 9 : row + 10, col] = 2
    line = scribble_per_region(mask, width=1) == 2
    covered = np.flatnonzero(line.any(axis=0))
    assert covered[0] < 12
    assert covered[-1] > 287
    middle = covered[20:-20]
    off = [abs(np.flatnonzero(line[:, col]).mean() - rows[col]) for col in middle]
    assert max(off) <= 4


def test_width_background_and_small_pieces():
    mask = np.zeros((64, 64), np.uint8)
    mask[10:40, 10:50] = 1
    mask[55:58, 55:58] = 2
    scribbles = scribble_per_region(mask, width=3, without=[0])
    assert set(np.unique(scribbles)) == {1, IGNORE}
    assert (scribbles == 1).sum() > 2 * (scribble_per_region(mask, width=1, without=[0]) == 1).sum()
    assert set(np.unique(point_per_region(mask, seed=0, smallest=1, without=[0]))) == {1, 2, IGNORE}
    assert set(np.unique(point_per_region(mask, seed=0, smallest=10))) == {0, 1, IGNORE}


def test_a_single_pixel_is_a_line_too():
    mask = np.full((5, 5), IGNORE, np.uint8)
    mask[2, 3] = 7
    np.testing.assert_array_equal(scribble_per_region(mask, smallest=1), mask)


@pytest.mark.parametrize("wrong", [np.zeros((2, 2), int), np.zeros((1, 2, 2), np.uint8)])
def test_what_is_no_mask_is_refused(wrong):
    with pytest.raises(InvalidParameterError, match="mask"):
        point_per_region(wrong, seed=0)
    with pytest.raises(InvalidParameterError, match="mask"):
        scribble_per_region(wrong)
    with pytest.raises(InvalidParameterError, match="pixel wide"):
        scribble_per_region(np.zeros((2, 2), np.uint8), width=0)
