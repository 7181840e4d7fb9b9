"""The limit of GDAL's block cache, which threads share."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import rasterio
from rasterio.env import get_gdal_config

from icss_core.raster.block_cache import limited_block_cache, set_block_cache

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 2**20


@pytest.fixture
def before() -> Iterator[int]:
    limit: int = get_gdal_config("GDAL_CACHEMAX")
    yield limit
    set_block_cache(limit)


def test_limit_is_given_back(before: int) -> None:
    with limited_block_cache(50 * MIB):
        assert get_gdal_config("GDAL_CACHEMAX") == 50 * MIB
    assert get_gdal_config("GDAL_CACHEMAX") == before
    set_block_cache(70 * MIB)
    with pytest.raises(ZeroDivisionError), limited_block_cache(50 * MIB):
        _ = 1 / 0
    assert get_gdal_config("GDAL_CACHEMAX") == 70 * MIB


def test_one_thread_takes_nothing_from_another(before: int) -> None:
    """A second prediction began and ended, and the first was left without a cache."""
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with rasterio.Env(), limited_block_cache(16 * MIB):
            entered.set()
            leave.wait(5)

    thread = threading.Thread(target=other)
    with limited_block_cache(300 * MIB):
        thread.start()
        entered.wait(5)
        assert get_gdal_config("GDAL_CACHEMAX") == 316 * MIB
        leave.set()
        thread.join()
        assert get_gdal_config("GDAL_CACHEMAX") == 300 * MIB
    assert get_gdal_config("GDAL_CACHEMAX") == before
