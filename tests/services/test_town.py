import time

import numpy as np
import pytest

from icss_core.errors import InvalidParameterError
from services.ingest.town import TOWN_CLASSES, make_town
from services.ingest.town.canvas import PIXEL
from services.ingest.town.light import Sun, cast_shadows


def test_same_arguments_give_the_same_scene():
    first = make_town(seed=3, number=1, height=160, width=192)
    again = make_town(seed=3, number=1, height=160, width=192)
    other = make_town(seed=4, number=1, height=160, width=192)
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.mask, other.mask)


def test_scene_is_an_rgb_picture_with_a_mask_of_all_classes():
    scene = make_town(seed=0, height=512, width=640)
    assert scene.pixels.shape == (3, 512, 640)
    assert scene.pixels.dtype == np.uint8
    assert scene.mask.shape == (512, 640)
    assert scene.mask.dtype == np.uint8
    shares = np.bincount(scene.mask.ravel(), minlength=len(TOWN_CLASSES)) / scene.mask.size
    assert len(shares) == len(TOWN_CLASSES)
    assert (shares > 0.004).all(), shares
    assert scene.pixels.std(axis=(1, 2)).min() > 20


def test_classes_cannot_be_told_by_brightness_alone():
    # A picture whose classes differ by grey value alone would prove nothing about a network.
    scene = make_town(seed=1, height=512, width=512)
    grey = scene.pixels.mean(axis=0)
    road, building = grey[scene.mask == 1], grey[scene.mask == 2]
    assert building.std() > 25
    assert np.mean((building > np.quantile(road, 0.05)) & (building < np.quantile(road, 0.95))) > 0.3


def test_scenes_of_a_series_lie_side_by_side_in_metres():
    first, second = (make_town(seed=0, number=number, height=64, width=128) for number in (0, 1))
    assert first.crs == "EPSG:32632"
    assert first.transform.a == PIXEL
    assert first.transform.e == -PIXEL
    assert second.transform.c - first.transform.c > 128 * PIXEL


def test_shadow_falls_away_from_the_sun_with_the_right_length():
    elevation = np.zeros((60, 60), dtype=np.float32)
    elevation[30:34, 20:40] = 3.0
    south = Sun(azimuth=np.pi, height=np.radians(45))
    dark = cast_shadows(elevation, south) > 0.5
    assert not dark[34:].any()
    # 3 m high under 45 degrees: 3 m, which is 10 pixels, to the north.
    assert 9 <= dark[:30, 30].sum() <= 11
    assert dark[29, 30]


def test_slope_towards_the_sun_is_brighter():
    south = Sun(azimuth=np.pi, height=np.radians(45))
    assert float(south.on_slope(0.0, 0.0)) == pytest.approx(1)
    assert float(south.on_slope(0.5, 0.0)) > 1.2
    assert float(south.on_slope(-0.5, 0.0)) < 0.6


def test_a_large_scene_takes_about_a_second_or_two():
    start = time.process_time()
    make_town(seed=0, height=1024, width=1024)
    assert time.process_time() - start < 6  # generous: machines differ


def test_too_small_is_refused():
    with pytest.raises(InvalidParameterError, match="64 x 64"):
        make_town(seed=0, height=63, width=64)
