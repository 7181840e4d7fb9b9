import numpy as np
import pytest
import shapely

from icss_core.raster.lines import line_pixels

SHAPE = (40, 55)
CENTRES = shapely.points(*(grid.ravel() + 0.5 for grid in np.meshgrid(np.arange(55), np.arange(40))))


def drawn(lines, width):
    mask = np.zeros(SHAPE, bool)
    rows, cols = line_pixels([np.asarray(line, float) for line in lines], width=width, shape=SHAPE)
    assert not mask[rows, cols].any()
    mask[rows, cols] = True
    assert mask.sum() == len(rows)
    return mask


@pytest.mark.parametrize("width", [1, 1.5, 3, 8])
@pytest.mark.parametrize("seed", range(5))
def test_pixels_are_those_whose_centre_is_near_enough(seed, width):
    rng = np.random.default_rng(seed)
    lines = [rng.uniform((-10, -15), (50, 70), (n, 2)) for n in (2, 4)]
    shapes = shapely.MultiLineString([line[:, ::-1] for line in lines])
    distance = shapely.distance(shapes, CENTRES).reshape(SHAPE)
    expected = distance <= width / 2
    for row, col in np.floor(np.concatenate(lines)).astype(int):
        if 0 <= row < SHAPE[0] and 0 <= col < SHAPE[1]:
            expected[row, col] = True
    clear = abs(distance - width / 2) > 0.002 * width
    found = drawn(lines, width)
    assert clear.mean() > 0.98
    assert np.array_equal(found[clear], expected[clear])


def test_a_line_of_one_pixel_has_no_hole():
    for end in np.linspace(0.5, 39.5, 14):
        found = drawn([[(end, 0.5), (20, 54.5)]], 1)
        assert found.any(axis=0).all()


@pytest.mark.parametrize("line", [[(3.02, 4.97)], [(3.02, 4.97), (3.02, 4.97)], [(3.02, 4.97), (3.03, 4.96)]])
def test_the_shortest_line_is_the_pixel_it_lies_in(line):
    assert list(zip(*np.nonzero(drawn([line], 1)), strict=True)) == [(3, 4)]


def test_what_is_off_the_raster_is_cut_off():
    assert not drawn([[(-5, -5), (-5, 60)]], 3).any()
    assert not drawn([[(41.6, 3), (300, 3)]], 3).any()
    crossing = drawn([[(-1e6, 10.5), (1e6, 10.5)]], 1)
    assert crossing[:, 10].all()
    assert crossing.sum() == SHAPE[0]
    assert drawn([[(-5, -5)], [(2, 2), (2, 9)]], 3).any()
