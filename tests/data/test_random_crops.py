"""Crops: right pixels with right labels, and nothing random that is not a function of the iteration."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from icss_core.data.labelled_scene import LabelledScene
from icss_core.data.random_crops import RandomCrops
from icss_core.errors import DatasetError, InvalidParameterError
from icss_core.raster.source import ArraySource

LOOKUP = np.full(256, 255, np.uint8)
LOOKUP[:4] = [0, 1, 0, 2]


def scene(height=80, width=120, dtype=np.uint16, seed=0) -> LabelledScene:
    rng = np.random.default_rng(seed)
    # every pixel's value tells where it is, so crops can be checked exactly
    values = (np.arange(height * width, dtype=np.int64).reshape(1, height, width) % 60000).astype(dtype)
    mask = rng.integers(0, 5, (1, height, width)).astype(np.uint8)
    valid = np.ones((height, width), bool)
    valid[:5] = False
    return LabelledScene(image=ArraySource(values, valid), mask=ArraySource(mask), lookup=LOOKUP)


def test_labels_belong_to_their_pixels():
    one = scene()
    batch = RandomCrops([one], size=64, batch=3, flips=True)(5)
    assert batch.pixels.dtype == torch.uint16
    assert batch.labels.dtype == torch.int64
    whole = one.mask._values[0]
    for pixels, labels in zip(batch.pixels.numpy(), batch.labels.numpy(), strict=True):
        rows, cols = np.divmod(pixels[0].astype(np.int64), 120)
        known = pixels[0] > 0  # row 0..4 is nodata and reads 0
        np.testing.assert_array_equal(labels[known], LOOKUP[whole[rows, cols]][known])
        assert (labels[~known] == 255).all()


def test_same_iteration_same_batch_and_other_ranks_other_crops():
    scenes = [scene(seed=1), scene(seed=2)]
    first, again = (RandomCrops(scenes, size=32, batch=4, seed=3)(7) for _ in range(2))
    assert torch.equal(first.pixels.float(), again.pixels.float())
    assert torch.equal(first.labels, again.labels)
    other = RandomCrops(scenes, size=32, batch=4, seed=3, rank=1)(7)
    assert not torch.equal(first.pixels.float(), other.pixels.float())


def test_scene_smaller_than_the_crop_is_padded_with_unlabelled_pixels():
    batch = RandomCrops([scene(40, 50)], size=64, batch=1, flips=False)(0)
    assert batch.pixels.shape == (1, 1, 64, 64)
    assert (batch.labels[0, 40:] == 255).all()
    assert (batch.labels[0, :, 50:] == 255).all()


def test_mixed_dtypes_meet_in_float32():
    batch = RandomCrops([scene(dtype=np.uint8), scene(dtype=np.float32)], size=32, batch=8)(0)
    assert batch.pixels.dtype == torch.float32


def test_positions_cover_the_scene_evenly():
    crops = RandomCrops([scene(96, 96)], size=32, batch=64, flips=False)
    seen = np.zeros(96 * 96)
    for iteration in range(30):
        seen += np.bincount(crops(iteration).pixels.numpy().astype(np.int64).ravel(), minlength=96 * 96)
    inner = seen.reshape(96, 96)[36:60, 36:60]
    assert inner.std() / inner.mean() < 0.15


def test_scales_cut_larger_and_smaller_windows():
    """A ramp's step from pixel to pixel tells by how much a crop was resized."""
    ramp = np.tile(np.arange(400, dtype=np.float32), (400, 1))[None]
    mask = np.where(ramp % 80 < 40, 1, 3).astype(np.uint8)
    one = LabelledScene(image=ArraySource(ramp), mask=ArraySource(mask), lookup=LOOKUP)
    crops = RandomCrops([one], size=64, batch=8, flips=False, scale=(0.5, 2.0))
    factors = []
    for iteration in range(10):
        batch = crops(iteration)
        assert batch.pixels.shape == (8, 1, 64, 64)
        for pixels, labels in zip(batch.pixels[:, 0].numpy(), batch.labels.numpy(), strict=True):
            inner = pixels[:, 4:-4]
            factors.append(1 / np.diff(inner, axis=1).mean())
            sure = np.abs(inner % 40 - 20) < 18  # away from the borders of the stripes
            np.testing.assert_array_equal(labels[:, 4:-4][sure], np.where(inner % 80 < 40, 1, 2)[sure])
    assert 0.49 < min(factors) < 0.6
    assert 1.7 < max(factors) < 2.05
    assert np.mean(np.array(factors) > 1) == pytest.approx(0.5, abs=0.2)


def test_crops_by_area_show_what_their_windows_hold():
    """Ramps along rows and columns tell which window a crop was."""
    down, right = (np.broadcast_to(ramp, (90, 150)) for ramp in (np.arange(90)[:, None], np.arange(150)))
    one = LabelledScene(
        image=ArraySource(np.stack([down, right]).astype(np.float32)),
        mask=ArraySource(np.zeros((1, 90, 150), np.uint8)),
        lookup=LOOKUP,
    )
    batch = RandomCrops([one], size=64, batch=200, flips=False, area=(0.3, 0.8))(0)
    assert (batch.labels == 0).all(), "nothing is padded"
    heights = 64 * (batch.pixels[:, 0, 40, 32] - batch.pixels[:, 0, 24, 32]).numpy() / 16
    widths = 64 * (batch.pixels[:, 1, 32, 40] - batch.pixels[:, 1, 32, 24]).numpy() / 16
    shares = heights * widths / (90 * 150)
    assert 0.28 < shares.min() < 0.35
    assert 0.6 < shares.max() < 0.82
    assert 0.7 < (widths / heights).min() < 0.85
    assert 1.2 < (widths / heights).max() < 1.4


def test_a_batch_is_cut_into_parts_as_even_as_they_can_be():
    for size, number, expected in ((7, 3, [2, 2, 3]), (10, 4, [2, 3, 2, 3]), (2, 5, [1, 1]), (4, 1, [4])):
        batch = RandomCrops([scene(dtype=np.float32)], size=32, batch=size)(0)
        parts = batch.parts(number)
        assert [len(part) for part in parts] == expected
        assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)


def test_crops_stay_upright_where_they_have_to():
    ramp = np.repeat(np.arange(96, dtype=np.float32), 96).reshape(1, 96, 96)
    one = LabelledScene(
        image=ArraySource(ramp), mask=ArraySource(np.zeros((1, 96, 96), np.uint8)), lookup=LOOKUP
    )
    for upside_down in (True, False):
        pixels = RandomCrops([one], size=32, batch=40, upside_down=upside_down)(0).pixels[:, 0]
        falls = (pixels[:, 0, 0] > pixels[:, -1, 0]).float().mean().item()
        assert (0.2 < falls < 0.8) if upside_down else falls == 0


def test_possible_classes_come_with_their_scene():
    def with_possible(*labels: int) -> LabelledScene:
        possible = np.zeros(3, bool)
        possible[list(labels)] = True
        return replace(scene(dtype=np.float32, seed=len(labels)), possible=possible)

    batch = RandomCrops([with_possible(0, 1), with_possible(0, 1, 2)], size=32, batch=16)(0)
    assert batch.extras["possible"].shape == (16, 3)
    assert batch.extras["possible"][:, :2].all()
    assert 0 < batch.extras["possible"][:, 2].sum() < 16
    assert RandomCrops([with_possible(0), scene()], size=32, batch=16)(0).extras == {}


def test_wrong_arguments_are_refused():
    with pytest.raises(DatasetError, match="no scene"):
        RandomCrops([], size=64, batch=1)
    with pytest.raises(InvalidParameterError):
        RandomCrops([scene()], size=8, batch=1)
    with pytest.raises(InvalidParameterError, match="smaller to a larger"):
        RandomCrops([scene()], size=32, batch=1, scale=(2.0, 0.5))
    with pytest.raises(InvalidParameterError, match="not both"):
        RandomCrops([scene()], size=32, batch=1, scale=(0.5, 2.0), area=(0.5, 1.0))


def test_scenes_of_other_bands_are_refused_by_name_when_they_are_drawn():
    two = replace(scene(), image=ArraySource(np.zeros((2, 80, 120), np.uint8)), name="two")
    crops = RandomCrops([replace(scene(), name="one"), two], size=32, batch=8)
    with pytest.raises(DatasetError, match="same bands; scene 'one' has 1, scene 'two' 2"):
        crops(0)


def with_objectness(height=80, width=120):
    """Objectness of a scene whose pixels tell where they are."""
    rng = np.random.default_rng(9)
    likely = rng.integers(0, 256, (1, height, width)).astype(np.uint8)
    known = np.ones((height, width), bool)
    known[:, 60:70] = False
    return replace(scene(height, width), maps={"objectness": ArraySource(likely, known)}), likely[0], known


@pytest.mark.parametrize("height", [80, 40])
def test_objectness_goes_with_its_pixels(height):
    """Crops, flipped, padded at 40 rows, and without data in the first five."""
    one, likely, known = with_objectness(height)
    plain = RandomCrops([scene(height)], size=64, batch=4)(5)
    batch = RandomCrops([one], size=64, batch=4)(5)
    assert torch.equal(plain.labels, batch.labels)
    assert batch.extras["objectness"].dtype == torch.float32
    assert "objectness" not in plain.extras
    for pixels, found in zip(batch.pixels[:, 0].numpy(), batch.extras["objectness"].numpy(), strict=True):
        for (row, col), value in np.ndenumerate(found):
            place = divmod(int(pixels[row, col]), 120)
            if pixels[row, col] == 0 or not known[place]:
                assert np.isnan(value)
            else:
                assert value == pytest.approx(likely[place] / 255)


def test_objectness_is_resized_with_its_pixels():
    """It is made equal to the pixels: then it is resized, cut and flipped as they are."""
    rng = np.random.default_rng(3)
    values = np.kron(rng.integers(0, 256, (20, 20)), np.ones((12, 12)))[None].astype(np.uint8)
    one = LabelledScene(
        image=ArraySource(values.astype(np.float32)),
        mask=ArraySource(np.zeros((1, 240, 240), np.uint8)),
        lookup=LOOKUP,
        maps={"objectness": ArraySource(values)},
    )
    for resized in ({"scale": (0.5, 2.0)}, {"area": (0.1, 0.9)}):
        batch = RandomCrops([one], size=64, batch=6, **resized)(1)
        known = ~batch.extras["objectness"].isnan()
        assert known.float().mean() > 0.8
        torch.testing.assert_close(
            batch.extras["objectness"][known], batch.pixels[:, 0][known] / 255, atol=1e-5, rtol=1e-5
        )


def test_resized_objectness_stays_a_probability():
    one, _, known = with_objectness()
    sure = replace(one, maps={"objectness": ArraySource(np.full((1, 80, 120), 255, np.uint8), known)})
    for iteration in range(5):
        batch = RandomCrops([sure], size=64, batch=8, scale=(0.4, 3.0))(iteration)
        assert batch.extras["objectness"].nan_to_num(0).max() <= 1


def test_a_batch_has_objectness_only_if_all_its_crops_have():
    one, _, _ = with_objectness()
    batches = [RandomCrops([one, scene()], size=32, batch=2, seed=1)(iteration) for iteration in range(20)]
    assert any("objectness" not in batch.extras for batch in batches)
    whole = next(batch for batch in batches if "objectness" in batch.extras)
    assert torch.equal(
        torch.cat([part.extras["objectness"] for part in whole.parts(2)]).nan_to_num(-1),
        whole.extras["objectness"].nan_to_num(-1),
    )
