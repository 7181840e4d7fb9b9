"""Crops of an update: labels in place, memory logits aligned, rare classes seen."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from icss_core.clicks import ClickSet
from icss_core.methods import CropRule
from icss_core.raster.source import ArraySource
from icss_core.raster.windows import Window
from icss_core.updating.context_crops import ContextCrops
from icss_core.updating.crops import (
    CropBatches,
    CropSource,
    LabelledCrops,
    SweepCrops,
    count_sweep_windows,
    sweep_windows,
)
from icss_core.updating.mosaic import Mosaic
from icss_core.updating.tiles import working_area

HEIGHT, WIDTH = 700, 600


@pytest.fixture
def source():
    values = np.arange(HEIGHT * WIDTH, dtype=np.int32).reshape(1, HEIGHT, WIDTH)
    return ArraySource(values)


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, HEIGHT, 200), rng.integers(0, WIDTH, 200)
    return ClickSet(rows, cols, np.where(np.arange(200) < 195, 0, 2))


def image(source, labels):
    return CropSource(source=source, area=working_area(HEIGHT, WIDTH, labels, size=256), labels=labels)


def batches(shown, *crops):
    return CropBatches(shown, crops)


def rule(**changes):
    return CropRule(**{"size": 128, "batch": 4, **changes})


def test_every_crop_holds_a_label_and_labels_are_in_place(source, labels):
    shown = image(source, labels)
    crops = batches(shown, LabelledCrops(shown, rule(), seed=1))
    where = {
        row * WIDTH + col: label
        for row, col, label in zip(labels.rows, labels.cols, labels.labels, strict=True)
    }
    for iteration in range(10):
        batch = crops(iteration)
        for pixels, targets in zip(batch.pixels.numpy(), batch.labels.numpy(), strict=True):
            labelled = targets != 255
            assert labelled.any()
            for place, label in zip(pixels[0][labelled], targets[labelled], strict=True):
                assert where[int(place)] == label


def test_rare_class_is_in_about_half_of_the_crops(source, labels):
    shown = image(source, labels)
    crops = batches(shown, LabelledCrops(shown, rule(), seed=1))
    hits = [bool((target == 2).any()) for iteration in range(50) for target in crops(iteration).labels]
    assert 0.4 < np.mean(hits) < 0.75  # 5 of 200 clicks; uniform crops would hold one in a few per cent


@pytest.mark.parametrize("sampler", [LabelledCrops, SweepCrops])
@pytest.mark.parametrize("limit", [64, 4])
def test_what_the_memory_network_said_is_of_the_same_pixels(sampler, limit, source, labels):
    area = working_area(HEIGHT, WIDTH, labels, size=256, limit=limit)
    # logits that spell the pixel's own value, labels that spell its column
    views = [torch.from_numpy(source.read(tile.window).values) for tile in area.tiles]
    shown = CropSource(
        source=source,
        area=area,
        labels=labels,
        maps={
            "memory_logits": Mosaic(area, [view.float() for view in views], fill=float("nan")),
            "memory_labels": Mosaic(area, [(view[0] % WIDTH % 251).byte() for view in views], fill=255),
        },
    )
    crops = batches(shown, sampler(shown, rule(), seed=2))
    for iteration in range(10):
        batch = crops(iteration)
        torch.testing.assert_close(batch.named("memory_logits"), batch.pixels.float())
        assert torch.equal(batch.named("memory_labels"), batch.pixels[:, 0].long() % WIDTH % 251)


def test_a_crop_names_its_place(source, labels):
    shown = image(source, labels)
    batch = batches(shown, LabelledCrops(shown, rule(), seed=3))(0)
    for pixels, crop in zip(batch.pixels[:, 0], batch.crops, strict=True):
        upright = torch.flip(pixels, crop.flip)
        assert int(upright[0, 0]) == crop.row * WIDTH + crop.col


def test_same_iteration_same_batch(source, labels):
    shown = image(source, labels)
    first, again, other = (batches(shown, LabelledCrops(shown, rule(), seed=seed))(3) for seed in (1, 1, 2))
    assert torch.equal(first.pixels, again.pixels)
    assert not torch.equal(first.pixels, other.pixels)


@pytest.mark.parametrize(("rank", "world"), [(0, 1), (0, 2), (1, 2)])
def test_a_batch_knows_its_iteration_and_ranks_take_turns(source, labels, rank, world):
    shown = image(source, labels)
    crops = LabelledCrops(shown, rule(), seed=1)
    batch = CropBatches(shown, [crops], rank=rank, world=world)(3)
    assert batch.iteration == 3
    assert batch.crops == tuple(crops(3 * world + rank))


def test_sweep_visits_every_window_once_before_any_twice(source, labels):
    crops = SweepCrops(image(source, labels), rule(batch=3, overlap=0.5, flips=False), seed=0)
    assert len(crops.windows) == 10 * 9  # ceil((700-128)/64)+1, ceil((600-128)/64)+1
    origins = [crop.row * WIDTH + crop.col for iteration in range(30) for crop in crops(iteration)]
    assert len(set(origins)) == 90
    assert origins != sorted(origins)
    second = [crop.row * WIDTH + crop.col for iteration in range(30, 60) for crop in crops(iteration)]
    assert set(second) == set(origins)
    assert second != origins


def test_a_sweep_is_ordered_once_and_is_the_same_in_whatever_order_batches_are_asked(
    source, labels, monkeypatch
):
    drawn = []
    original = np.random.default_rng

    def counted(seed):
        drawn.append(tuple(seed))
        return original(seed)

    monkeypatch.setattr(np.random, "default_rng", counted)
    shown, asked = image(source, labels), rule(batch=4, overlap=0.5, flips=False)
    crops = SweepCrops(shown, asked, seed=7)
    in_order = [tuple(crops(iteration)) for iteration in range(40)]
    assert [seed for seed in drawn if len(seed) == 2] == [(7, 0), (7, 1)], "90 windows, 160 crops"
    backwards = [tuple(SweepCrops(shown, asked, seed=7)(iteration)) for iteration in reversed(range(40))]
    assert in_order == backwards[::-1]
    first = original([7, 0]).permutation(90)[:4]
    windows = [crops.windows[int(index)] for index in first]
    assert [(one.row, one.col) for one in in_order[0]] == [(one.row, one.col) for one in windows]


def test_raster_smaller_than_the_crop(labels):
    small = ArraySource(np.ones((1, 100, 90), np.uint8))
    near = ClickSet(labels.rows % 100, labels.cols % 90, labels.labels)
    shown = CropSource(source=small, area=working_area(100, 90, near), labels=near)
    for sampler in (LabelledCrops, SweepCrops):
        assert batches(shown, sampler(shown, rule(), seed=0))(0).pixels.shape == (4, 1, 128, 128)


def test_sweep_stays_inside_the_working_area(source, labels):
    area = working_area(HEIGHT, WIDTH, labels, size=256, limit=4)
    assert not area.whole
    windows = SweepCrops(
        CropSource(source=source, area=area, labels=labels), rule(overlap=0.5), seed=0
    ).windows
    for window in windows:
        inside = [tile for tile in area.tiles if tile.window.intersect(window) == window]
        assert inside, "a crop of a partial area lies in a tile: the memory network has seen all of it"


@pytest.mark.parametrize("overlap", [0.0, 0.4, 0.5, 0.75])
@pytest.mark.parametrize("limit", [1, 3, 7, 10, 64])
@pytest.mark.parametrize("tile", [96, 128])
def test_windows_of_a_sweep_are_counted_by_arithmetic(overlap, limit, tile):
    rng = np.random.default_rng([limit, tile])
    for number in range(25):
        height, width = (int(n) for n in rng.integers(1, 5 * tile, 2))
        area = working_area(height, width, ClickSet.empty(), size=tile, limit=limit, seed=number)
        crops = CropRule(kind="sweep", size=64, overlap=overlap)
        listed = sweep_windows(height, width, area, crops)
        assert count_sweep_windows(height, width, area, crops) == len(listed), (height, width)


def test_many_windows_are_counted_in_no_time():
    area = working_area(8192, 8192, ClickSet.empty(), limit=256)
    rule = CropRule(kind="sweep", size=64, overlap=0.99)
    assert count_sweep_windows(8192, 8192, area, rule) == (8192 - 64 + 1) ** 2


def test_context_crops_lie_in_tiles_of_every_image_alike():
    small, large = working_area(256, 256, ClickSet.empty(), size=256), working_area(
        1024, 1024, ClickSet.empty(), size=256, seed=1
    )  # fmt: skip
    moved = [replace(tile, window=replace(tile.window, row=tile.window.row + 4096)) for tile in large.tiles]
    areas = [small, replace(large, tiles=tuple(moved))]
    crops = ContextCrops(areas, rule(), number=3, seed=5)
    chosen = [crop for iteration in range(200) for crop in crops(iteration)]
    assert len(chosen) == 600
    assert crops(7) == ContextCrops(areas, rule(), number=3, seed=5)(7)
    for crop in chosen:
        window = Window(crop.row, crop.col, 128, 128)
        assert any(tile.window.intersect(window) == window for area in areas for tile in area.tiles)
    assert 0.4 < np.mean([crop.row < 4096 for crop in chosen]) < 0.6, "one tile here, sixteen there"
    assert len({crop.flip for crop in chosen}) == 4


def test_crops_of_several_kinds_are_one_batch_in_their_order(source, labels):
    shown = image(source, labels)
    labelled = LabelledCrops(shown, rule(), seed=1)
    context = ContextCrops([shown.area], rule(), number=2, seed=1)
    batch = batches(shown, labelled, context)(4)
    assert batch.crops == (*labelled(4), *context(4))
    assert len(batch) == 6
