"""Against Pillow and PyTorch, which resize in their own ways."""

import numpy as np
import pytest
import torch
from PIL import Image

from icss_core.data.resizing import resize_labels, resize_pixels, resize_skipping_nan


@pytest.mark.parametrize("size", [20, 33, 64, 100])
def test_pixels_are_pillows(size):
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 255, (8, 8)), np.ones((8, 8))).astype(np.uint8)
    expected = np.asarray(Image.fromarray(smooth).resize((size, size), Image.Resampling.BILINEAR))
    found = resize_pixels(smooth[None], size)
    assert found.dtype == np.uint8
    assert np.abs(found[0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("size", [20, 21, 32, 64, 100, 128])
def test_labels_are_torchs_nearest(size):
    labels = np.random.default_rng(1).integers(0, 256, (64, 64)).astype(np.uint8)
    wide = torch.from_numpy(labels)[None, None].float()
    expected = torch.nn.functional.interpolate(wide, (size, size), mode="nearest-exact")
    np.testing.assert_array_equal(resize_labels(labels, size), expected[0, 0].numpy())


def test_values_stay_in_the_range_of_their_dtype_and_floats_are_not_rounded():
    ends = np.zeros((2, 10, 10), np.uint16)
    ends[:, 5:] = 65535
    assert resize_pixels(ends, 7).max() == 65535
    halves = resize_pixels(np.array([[[0.0, 1.0]] * 2], np.float32), 4)
    assert 0 < halves[0, 0, 1] < 1


@pytest.mark.parametrize("size", [20, 50, 64, 90])
def test_known_values_are_averaged_without_the_others(size):
    rng = np.random.default_rng(2)
    values = rng.random((64, 64)).astype(np.float32)
    np.testing.assert_allclose(
        resize_skipping_nan(values, size), resize_pixels(values[None], size)[0], rtol=1e-6
    )
    values[:, 30:] = np.nan
    found = resize_skipping_nan(np.where(np.isnan(values), values, np.float32(0.7)), size)
    known = ~np.isnan(found)
    np.testing.assert_allclose(found[known], 0.7, rtol=1e-5)
    middles = (np.arange(size) + 0.5) * 64 / size
    clear = abs(middles - 30) > 0.05
    assert (known == (middles < 30))[:, clear].all()
