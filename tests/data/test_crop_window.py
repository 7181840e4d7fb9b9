"""Windows of random crops, against torchvision's."""

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from icss_core.data.crop_window import area_window, scaled_window
from icss_core.raster.windows import Window


@pytest.mark.parametrize(
    ("height", "width", "area"),
    [(375, 500, (0.5, 2.0)), (500, 375, (0.5, 2.0)), (400, 400, (0.1, 1.0)), (100, 480, (0.5, 2.0))],
)
def test_windows_by_area_are_distributed_like_torchvisions(height, width, area):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    image = torch.zeros(1, height, width)
    theirs = np.array([RandomResizedCrop.get_params(image, area, (3 / 4, 4 / 3)) for _ in range(4000)])
    windows = [area_window(rng, height, width, size=256, area=area) for _ in range(4000)]
    ours = np.array([(one.row, one.col, one.height, one.width) for one in windows])
    assert ((ours[:, :2] >= 0) & (ours[:, :2] + ours[:, 2:] <= (height, width))).all()
    for place in range(4):
        for quantile in (0.05, 0.25, 0.5, 0.75, 0.95):
            one, other = (np.quantile(found[:, place], quantile) for found in (ours, theirs))
            assert one == pytest.approx(other, abs=0.03 * max(height, width))
    middle = [(*found.tolist(),) for found in theirs if found[3] > width]
    assert not middle


def test_what_never_fits_is_the_middle_as_torchvision_takes_it():
    for height, width in ((100, 480), (480, 100), (300, 310)):
        theirs = RandomResizedCrop.get_params(torch.zeros(1, height, width), (3.0, 4.0), (3 / 4, 4 / 3))
        window = area_window(np.random.default_rng(0), height, width, size=256, area=(3.0, 4.0))
        assert (window.row, window.col, window.height, window.width) == tuple(theirs)


def test_a_share_of_a_huge_scene_is_a_share_of_a_part():
    rng = np.random.default_rng(1)
    windows = [area_window(rng, 20_000, 30_000, size=128, area=(0.5, 1.0)) for _ in range(200)]
    assert max(max(one.height, one.width) for one in windows) <= 4 * 128
    assert min(one.height * one.width for one in windows) >= 0.49 * (4 * 128) ** 2
    assert max(one.row for one in windows) > 15_000


def test_windows_by_scale_are_squares_of_the_size_over_the_factor():
    rng = np.random.default_rng(2)
    sides = [scaled_window(rng, 900, 900, size=100, scale=(0.5, 2.0)).height for _ in range(2000)]
    assert (min(sides), max(sides)) == (pytest.approx(50, abs=1), pytest.approx(200, abs=1))
    assert np.median(sides) == pytest.approx(100, abs=5)
    assert scaled_window(rng, 40, 60, size=100, scale=None) == Window(0, 0, 100, 100)
