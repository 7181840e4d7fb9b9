"""What a scene gives for a window, and which rasters do not belong together."""

from dataclasses import replace

import numpy as np
import pytest

from icss_core.data.labelled_scene import LabelledScene
from icss_core.data.random_crops import RandomCrops
from icss_core.errors import DatasetError
from icss_core.raster.source import ArraySource
from icss_core.raster.windows import Window

WINDOW = Window(0, 0, 32, 32)


def scene(**more):
    image = ArraySource(np.random.default_rng(0).integers(1, 256, (1, 80, 120)).astype(np.uint8))
    mask = ArraySource(np.ones((1, 80, 120), np.uint8))
    whole = LabelledScene(image=image, mask=mask, lookup=np.arange(256, dtype=np.uint8), name="farm")
    return replace(whole, **more)


@pytest.mark.parametrize("kind", ["mask", "objectness"])
@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros((1, 80, 119), np.uint8), "scene 'farm': the image has 80 x 120 pixels, its {} 80 x 119"),
        (np.zeros((2, 80, 120), np.uint8), "the {} must have one uint8 band, not 2 of uint8"),
        (np.zeros((1, 80, 120), np.float32), "one uint8 band, not 1 of float32"),
    ],
)
def test_rasters_must_fit_the_image(kind, values, says):
    raster = ArraySource(values)
    with pytest.raises(DatasetError, match=says.format(kind)):
        scene(**({kind: raster} if kind == "mask" else {"maps": {kind: raster}})).cut(WINDOW)


def test_the_size_that_a_data_set_says_must_be_the_images():
    assert (scene(size=(80, 120)).cut(WINDOW).labels == 1).all()
    with pytest.raises(DatasetError, match="data set says 120 x 80 pixels, the image has 80 x 120"):
        scene(size=(120, 80)).crop(WINDOW)


def test_a_scene_without_a_mask_gives_the_same_pixels_unlabelled():
    likely = {"objectness": ArraySource(np.full((1, 80, 120), 51, np.uint8))}
    labelled, unlabelled = (
        scene(maps=likely).cut(WINDOW),
        scene(maps=likely, mask=None).cut(WINDOW),
    )
    np.testing.assert_array_equal(unlabelled.pixels, labelled.pixels)
    np.testing.assert_array_equal(unlabelled.labels, np.full((32, 32), 255, np.uint8))
    np.testing.assert_allclose(unlabelled.maps["objectness"], 0.2)
    possible = np.array([True, False, True])
    batch = RandomCrops([scene(mask=None, possible=possible)], size=32, batch=2)(0)
    assert (batch.labels == 255).all()
    assert batch.named("possible").tolist() == [possible.tolist()] * 2
