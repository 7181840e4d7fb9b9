from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from icss_core.errors import InvalidParameterError
from icss_core.raster.reader import ArraySource, Pixels
from icss_core.raster.tile_cache import CachedSource, TileCache
from icss_core.raster.windows import Window


class CountingSource(ArraySource):
    """An array that knows how often each window was read."""

    def __init__(self, values: np.ndarray, valid: np.ndarray | None = None) -> None:
        super().__init__(values, valid)
        self.reads: Counter[Window] = Counter()

    def read(self, window: Window) -> Pixels:
        self.reads[window] += 1
        return super().read(window)


def random_source() -> CountingSource:
    rng = np.random.default_rng(0)
    return CountingSource(rng.integers(0, 999, (2, 90, 70), np.uint16), rng.random((90, 70)) > 0.1)


def test_windows_equal_those_of_the_source() -> None:
    source = random_source()
    cached = CachedSource(source, block=32)
    rng = np.random.default_rng(1)
    for row, col, height, width in rng.integers([-40, -40, 1, 1], [100, 80, 60, 60], (200, 4)).tolist():
        window = Window(row, col, height, width)
        expected, found = source.read(window), cached.read(window)
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_array_equal(found.valid, expected.valid)


def test_each_block_is_read_once_while_cached() -> None:
    source = random_source()
    cached = CachedSource(source, block=32)
    for _ in range(3):
        cached.read(Window(0, 0, 90, 70))
        cached.read(Window(20, 20, 30, 30))
    assert len(source.reads) == 9
    assert set(source.reads.values()) == {1}


def test_memory_is_bounded_and_the_least_recently_used_block_goes_first() -> None:
    source = random_source()
    one_block = 32 * 32 * (2 * 2 + 1)
    cache = TileCache(2 * one_block)
    cached = CachedSource(source, block=32, cache=cache)
    first, second, third = (Window(0, col, 1, 1) for col in (0, 32, 64))
    for window in (first, second, first, third):  # the third is narrower; all together are too much
        cached.read(window)
        assert cache.bytes <= 2 * one_block
    cached.read(first)
    assert source.reads[Window(0, 0, 32, 32)] == 1
    cached.read(second)
    assert source.reads[Window(0, 32, 32, 32)] == 2


def test_many_sources_share_one_limit() -> None:
    one_block = 32 * 32 * (2 * 2 + 1)
    cache = TileCache(3 * one_block)
    sources = [random_source() for _ in range(20)]
    cached = [CachedSource(source, block=32, cache=cache) for source in sources]
    for one in cached:
        one.read(Window(0, 0, 5, 5))
        assert cache.bytes <= 3 * one_block
    for one in cached[-3:]:
        one.read(Window(5, 5, 5, 5))
    assert [source.reads.total() for source in sources] == [1] * 20
    cached[0].read(Window(0, 0, 5, 5))
    assert sources[0].reads.total() == 2


def test_one_block_is_kept_however_small_the_limit() -> None:
    source = random_source()
    cached = CachedSource(source, block=64, cache=TileCache(1))
    cached.read(Window(0, 0, 5, 5))
    cached.read(Window(5, 5, 5, 5))
    assert set(source.reads.values()) == {1}


def test_what_is_read_is_a_copy() -> None:
    cached = CachedSource(random_source(), block=32)
    before = cached.read(Window(0, 0, 8, 8)).values.copy()
    cached.read(Window(0, 0, 8, 8)).values[:] = 0
    np.testing.assert_array_equal(cached.read(Window(0, 0, 8, 8)).values, before)


def test_limits_must_be_positive() -> None:
    with pytest.raises(InvalidParameterError):
        CachedSource(random_source(), block=0)
    with pytest.raises(InvalidParameterError):
        TileCache(0)
