"""Many rasters through few handles and few bytes, from two threads at once."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio

from icss_core.errors import ImageNotFoundError, InvalidParameterError
from icss_core.raster.raster_pool import RasterPool
from icss_core.raster.reader import open_raster
from icss_core.raster.windows import Window

WINDOW = Window(3, 5, 40, 40)
PROFILE = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": "EPSG:3857"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rasters")
    for number in range(12):
        path = folder / f"{number}.tif"
        place = rasterio.Affine(1, 0, 10, 0, -1, 20)
        with rasterio.open(path, "w", height=64, width=80, transform=place, **PROFILE) as target:
            target.write(np.full((1, 64, 80), number + 1, np.uint8))
    return [str(folder / f"{number}.tif") for number in range(12)]


def test_nothing_is_opened_before_it_is_needed_and_few_stay_open(files):
    with RasterPool(max_open=3) as pool:
        sources = [pool.source(path) for path in files]
        assert pool.openings == 0
        assert (sources[0].height, sources[0].width, sources[0].bands) == (64, 80, 1)
        assert pool.openings == 1
        for number, source in enumerate(sources):
            assert (source.read(WINDOW).values == number + 1).all()
            assert pool.open_files <= 3
        assert pool.openings == 12


def test_a_closed_file_is_opened_again_unless_its_pixels_are_kept(files):
    block = 64 * 80 * 2  # a byte of value and one of validity
    with RasterPool(max_open=2, max_bytes=2 * block) as pool:
        sources = [pool.source(path) for path in files]
        for _ in range(2):
            for number, source in enumerate(sources):
                assert (source.read(WINDOW).values == number + 1).all()
                assert pool.cached_bytes <= 2 * block
        assert pool.openings == 24
        assert (sources[-1].read(Window(0, 0, 8, 8)).values == 12).all()
        assert pool.openings == 24


def test_two_threads_read_what_is_there(files):
    """Hundreds of openings, readings and closings, all in each other's way."""
    with RasterPool(max_open=2, max_bytes=1) as pool:
        sources = [pool.source(path) for path in files]

        def read(seed):
            order = np.random.default_rng(seed).integers(len(sources), size=200).tolist()
            return all((sources[n].read(WINDOW).values == n + 1).all() for n in order)

        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(read, range(2))) == [True, True]
        assert pool.open_files <= 2


def test_errors_come_with_the_first_use_and_closed_pools_stay_closed(files, tmp_path):
    with RasterPool() as pool:
        source, missing = pool.source(files[0]), pool.source(str(tmp_path / "none.tif"))
        with pytest.raises(ImageNotFoundError, match=r"none\.tif"):
            missing.read(WINDOW)
        source.read(WINDOW)
    assert (pool.open_files, pool.cached_bytes) == (0, 0)
    with pytest.raises(RuntimeError, match="closed"):
        source.read(WINDOW)


def test_handles_are_those_of_the_opener_asked_for(files):
    opened = []

    def opener(address):
        opened.append(address)
        return open_raster(address)

    with RasterPool() as pool:
        pool.source(files[0], opener).read(WINDOW)
    assert opened == [files[0]]


@pytest.mark.parametrize("limits", [{"max_open": 0}, {"max_bytes": 0}])
def test_limits_must_be_positive(limits):
    with pytest.raises(InvalidParameterError):
        RasterPool(**limits)
