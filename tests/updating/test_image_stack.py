"""Several images as one: every tile, crop and click belongs to the image that it was made on."""

from __future__ import annotations

import numpy as np
import pytest
from bars_and_blocks import BUILDING, CPU, OLD, picture, pretrained
from same_weights import same_weights

from icss_core.clicks import ClickSet, simulate_clicks
from icss_core.errors import BandMismatchError, ClickError, InvalidParameterError
from icss_core.evaluation.interactive import map_image
from icss_core.methods import CropRule, get_preset
from icss_core.networks.input_size import USUAL
from icss_core.raster.source import ArraySource
from icss_core.raster.windows import Window
from icss_core.updating import ClickedImage, Runtime, update, update_from_images
from icss_core.updating.crops import sweep_windows
from icss_core.updating.image_stack import ImageStack
from icss_core.updating.tiles import working_area

SIZES = ((600, 500), (100, 90), (1030, 512), (64, 1100))


def image(number: int, height: int, width: int) -> ClickedImage:
    """Band 0 is the image's number, bands 1 and 2 are row and column; one click a hundred pixels."""
    rows, cols = np.indices((height, width))
    values = np.stack([np.full_like(rows, number + 1), rows, cols]).astype(np.uint16)
    at = np.random.default_rng(number).integers(0, (height, width), (height * width // 10_000 + 1, 2))
    clicks = ClickSet(at[:, 0], at[:, 1], np.full(len(at), number))
    return ClickedImage(ArraySource(values), clicks, name=f"image {number}")


IMAGES = [image(number, *size) for number, size in enumerate(SIZES)]


def stack(images=IMAGES, limit: int = 100) -> ImageStack:
    return ImageStack(images, limit=limit, seed=0, taken=USUAL)


def test_cells_are_a_partition_of_every_image() -> None:
    stacked = stack()
    seen = [np.zeros(size, int) for size in SIZES]
    for tile in stacked.area.tiles:
        pixels = stacked.read(tile.window)
        own = pixels.values[:, tile.own_rows, tile.own_cols]
        assert pixels.valid[tile.own_rows, tile.own_cols].all()
        (number,) = np.unique(own[0])
        seen[number - 1][own[1], own[2]] += 1
        assert set(np.unique(pixels.values[0][pixels.valid])) == {number}, "no other image in a tile"
    assert all((one == 1).all() for one in seen)


def test_clicks_stay_on_their_pixels() -> None:
    stacked = stack()
    owner = stacked.area.holding(stacked.clicks.rows, stacked.clicks.cols)
    assert (owner >= 0).all()
    expected = [(label, row, col) for one in IMAGES for row, col, label in zip(
        one.clicks.rows, one.clicks.cols, one.clicks.labels, strict=True)]  # fmt: skip
    read = [
        tuple(stacked.read(Window(row, col, 1, 1)).values[:, 0, 0])
        for row, col in zip(stacked.clicks.rows.tolist(), stacked.clicks.cols.tolist(), strict=True)
    ]
    assert [(number - 1, row, col) for number, row, col in read] == expected
    assert stacked.clicks.labels.tolist() == [label for label, _, _ in expected]


@pytest.mark.parametrize("limit", [100, 5])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_a_sweep_goes_over_each_image_as_over_itself(limit: int, overlap: float) -> None:
    rule = CropRule(kind="sweep", size=64, overlap=overlap, batch=1)
    stacked = stack(limit=limit)
    windows = stacked.sweep_windows(rule)
    assert stacked.count_sweep_windows(rule) == len(windows) == len(set(windows))
    reads = [stacked.read(window) for window in windows]
    assert all(len(np.unique(one.values[0][one.valid])) <= 1 for one in reads), "never of two images"
    if limit == 100:
        for number, one in enumerate(IMAGES):
            height, width = SIZES[number]
            area = working_area(height, width, one.clicks, limit=100)
            alone = sweep_windows(height, width, area, rule)
            mine = [read for read in reads if read.values[0].max() == number + 1]
            assert len(mine) == len(alone)


def test_the_tiles_with_most_clicks_are_taken_from_whatever_image() -> None:
    rows, cols = np.divmod(np.arange(400), 20)
    busy = ClickSet(rows + 700, cols, np.full(400, 2))
    images = [*IMAGES[:2], ClickedImage(IMAGES[2].source, busy)]
    stacked = stack(images, limit=1)
    (tile,) = stacked.area.tiles
    assert stacked.read(tile.window).values[0].max() == 3
    assert not stacked.area.whole


def test_one_image_is_itself() -> None:
    (alone,) = images = IMAGES[:1]
    stacked = stack(images)
    assert (stacked.height, stacked.width) == SIZES[0]
    assert stacked.area == working_area(*SIZES[0], alone.clicks, limit=100)
    assert stacked.clicks == alone.clicks
    window = Window(-5, 480, 700, 60)
    np.testing.assert_array_equal(stacked.read(window).values, alone.source.read(window).values)


def test_images_of_different_kinds_are_refused() -> None:
    other = ClickedImage(ArraySource(np.zeros((3, 9, 9), np.uint8)), ClickSet.empty())
    with pytest.raises(InvalidParameterError, match="of one kind"):
        stack([*IMAGES, other])


def quick(**more):
    numbers = {"optimisation.iterations": 30, "optimisation.precision": "float32", "crops.size": 64}
    return get_preset("icss", numbers | more)


def iou(labels: np.ndarray, truth: np.ndarray, label: int) -> float:
    return ((labels == label) & (truth == label)).sum() / ((labels == label) | (truth == label)).sum()


def test_a_class_is_learnt_from_clicks_on_two_images() -> None:
    """One has the clicks of the new class, the other those of the background."""
    (first, truth), (second, other_truth) = picture(77), picture(78, size=230)
    images = [
        ClickedImage(first, simulate_clicks(truth, classes=[2], per_class=60, seed=0)),
        ClickedImage(second, simulate_clicks(other_truth, classes=[0], per_class=60, seed=0)),
    ]
    memory = pretrained()
    result = update_from_images(memory, OLD, images, [BUILDING], quick(), runtime=Runtime(device=CPU))
    for source, labels in ((first, truth), (second, other_truth)):
        assert iou(map_image(result.network, source), labels, 2) > 0.6
    assert result.forgetting.pixels == truth.size + other_truth.size


def test_an_update_from_one_image_is_the_same_either_way() -> None:
    source, truth = picture(77)
    clicks = simulate_clicks(truth, classes=[0, 2], per_class=20, seed=0)
    numbers = quick(**{"optimisation.iterations": 2})
    memory, runtime = pretrained(), Runtime(device=CPU)
    one = update(memory, OLD, source, clicks, [BUILDING], numbers, runtime=runtime)
    images = [ClickedImage(source, clicks)]
    other = update_from_images(memory, OLD, images, [BUILDING], numbers, runtime=runtime)
    assert same_weights(one.network, other.network)


def test_faults_name_the_image() -> None:
    source, _ = picture(77)
    good = ClickedImage(source, ClickSet([5, 6], [5, 6], [2, 0]))
    memory = pretrained()
    off = ClickedImage(source, ClickSet([500], [5], [2]), name="north.tif")
    with pytest.raises(ClickError, match=r"row 500, column 5 .* \(north\.tif\)"):
        update_from_images(memory, OLD, [good, off], [BUILDING], quick())
    grey = ClickedImage(ArraySource(np.zeros((1, 64, 64), np.uint8)), ClickSet.empty(), name="grey.tif")
    with pytest.raises(BandMismatchError, match=r"grey\.tif has 1 bands"):
        update_from_images(memory, OLD, [good, grey], [BUILDING], quick())
    with pytest.raises(ClickError, match="no click at all"):
        update_from_images(memory, OLD, [], [BUILDING], quick())


class TestContext:
    """Images without clicks."""

    def test_their_tiles_are_apart_and_come_last(self) -> None:
        bare = [ClickedImage(one.source, name=f"bare {number}") for number, one in enumerate(IMAGES[2:])]
        stacked = ImageStack(
            [bare[0], *IMAGES[:2], bare[1]], limit=100, context_limit=100, seed=0, taken=USUAL
        )
        assert [name for name, _ in stacked.context] == ["bare 0", "bare 1"]
        shown = [int(stacked.read(tile.window).values[0].max()) for tile in stacked.area.tiles]
        assert set(shown) == {1, 2}
        both = [*stacked.area.tiles, *(tile for _, area in stacked.context for tile in area.tiles)]
        assert stacked.everywhere.tiles == tuple(both)
        for number, (_, area) in enumerate(stacked.context):
            assert {int(stacked.read(tile.window).values[0].max()) for tile in area.tiles} == {number + 3}
        rule = CropRule(kind="sweep", size=64, overlap=0.5, batch=1)
        alone = ImageStack(IMAGES[:2], limit=100, seed=0, taken=USUAL)
        assert stacked.count_sweep_windows(rule) == len(stacked.sweep_windows(rule))
        assert len(stacked.sweep_windows(rule)) == len(alone.sweep_windows(rule))

    def test_their_number_of_tiles_is_limited_by_itself(self) -> None:
        bare = [ClickedImage(IMAGES[2].source, name="bare")]
        stacked = ImageStack([*IMAGES[:2], *bare], limit=100, context_limit=2, seed=0, taken=USUAL)
        assert len(stacked.context[0][1].tiles) == 2
        assert len(stacked.area.tiles) == len(stack(IMAGES[:2]).area.tiles)

    def test_they_are_heard_and_judged_but_never_labelled(self) -> None:
        (source, truth), (other, _) = picture(77), picture(78, size=230)
        clicks = simulate_clicks(truth, classes=[0, 2], per_class=30, seed=0)
        memory, runtime = pretrained(), Runtime(device=CPU)
        numbers = get_preset(
            "icss",
            {"optimisation.iterations": 3, "optimisation.precision": "float32", "crops.size": 64},
        )
        images = [ClickedImage(source, clicks)]
        alone = update_from_images(memory, OLD, images, [BUILDING], numbers, runtime=runtime)
        images.append(ClickedImage(other, name="field"))
        heard = update_from_images(memory, OLD, images, [BUILDING], numbers, runtime=runtime)
        assert alone.findings.pseudo_labels == heard.findings.pseudo_labels
        assert alone.forgetting.pixels == heard.forgetting.pixels == truth.size
        assert [report.samples for report in alone.history] == [4] * 3
        assert [report.samples for report in heard.history] == [6] * 3
        assert not same_weights(alone.network, heard.network)
        assert alone.elsewhere is None
        (image,) = heard.elsewhere.images
        assert (image.name, image.forgetting.pixels) == ("field", 230 * 230)
        before, after = (map_image(one, other) for one in (memory, heard.network))
        assert image.forgetting.changed_share_of_image == pytest.approx((before != after).mean(), abs=0.02)
