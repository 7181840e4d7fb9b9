"""Statistics of bands against numpy on the whole array."""

import numpy as np
import pytest

from icss_core.errors import BandMismatchError, DatasetError
from icss_core.networks import estimate_normalisation
from icss_core.raster.source import ArraySource


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_estimate_agrees_with_numpy_on_valid_pixels(dtype):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 200, (2, 300, 400)).astype(dtype)
    valid = rng.random((300, 400)) < 0.7
    values[:, ~valid] = 255  # must not count
    found = estimate_normalisation([ArraySource(values, valid)], windows_per_source=40, size=128)
    kept = values[:, valid].astype(np.float64)
    np.testing.assert_allclose(found.mean, kept.mean(axis=1), rtol=0.01)
    np.testing.assert_allclose(found.std, kept.std(axis=1), rtol=0.01)


def test_constant_band_is_left_unscaled():
    found = estimate_normalisation([ArraySource(np.full((1, 64, 64), 7, np.uint8))], size=32)
    assert found.mean == (7.0,)
    assert found.std == (1.0,)


def test_sources_without_data_or_with_other_bands_are_refused():
    empty = ArraySource(np.zeros((1, 40, 40), np.uint8), np.zeros((40, 40), bool))
    with pytest.raises(DatasetError, match="no valid pixel"):
        estimate_normalisation([empty], size=32)
    with pytest.raises(BandMismatchError):
        estimate_normalisation(
            [ArraySource(np.ones((1, 40, 40), np.uint8)), ArraySource(np.ones((2, 40, 40), np.uint8))],
            size=32,
        )
