"""What an update gathers tile by tile (outputs, memory, labelled rows, comparison), against whole maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from icss_core.clicks import ClickSet
from icss_core.errors import CancelledError
from icss_core.labels import IGNORE, ClassInfo, LabelSpace
from icss_core.methods import PseudoLabelRule
from icss_core.metrics.forgetting import ForgettingAccumulator
from icss_core.networks import Architecture, Normalisation, Segmenter
from icss_core.raster.source import ArraySource
from icss_core.updating.comparison import compare_on_tiles
from icss_core.updating.labelled_rows import labelled_rows
from icss_core.updating.memory import MemoryView, view_of_memory
from icss_core.updating.tile_runner import TileRunner
from icss_core.updating.tiles import WorkingArea, working_area

HEIGHT, WIDTH, SIZE = 100, 150, 64
CLASSES = LabelSpace(
    classes=tuple(
        ClassInfo(name=name, colour=(index, 0, 0))
        for index, name in enumerate(("background", "road", "water", "building"))
    )
)
CLICKS = ClickSet(
    np.array([3, 70, 99, 40, 64]), np.array([5, 149, 0, 100, 63]), np.array([0, 3, 3, 3, 1])
)  # in all corners of the tiling
"""Three of the class with the most."""


def segmenter(n_classes: int, seed: int) -> Segmenter:
    """Untrained; every class is predicted somewhere."""
    torch.manual_seed(seed)
    statistics = Normalisation(mean=(100.0,) * 3, std=(50.0,) * 3)
    network = Segmenter(Architecture(encoder="tu-test_resnet", n_classes=n_classes), statistics).eval()
    with torch.no_grad():
        logits = network(torch.from_numpy(image()._values[None, :, :96, :128].copy())).logits
        network.classifier.weight *= 20
        network.classifier.bias -= logits.mean(dim=(0, 2, 3))
        network.classifier.bias *= 20
    return network


def image() -> ArraySource:
    """Blocks of colour, without data in a corner."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 200, (3, 7, 10)).repeat(16, 1).repeat(16, 2)[:, :HEIGHT, :WIDTH]
    values = (blocks + rng.integers(0, 56, blocks.shape)).astype(np.uint8)
    valid = np.ones((HEIGHT, WIDTH), bool)
    valid[:30, 60:90] = False
    return ArraySource(values, valid)


@pytest.fixture(scope="module")
def memory_network() -> Segmenter:
    return segmenter(3, seed=1)


@pytest.fixture(scope="module")
def updated_network() -> Segmenter:
    return segmenter(4, seed=2)


@pytest.fixture(scope="module")
def source() -> ArraySource:
    return image()


@pytest.fixture(scope="module")
def area() -> WorkingArea:
    """Six tiles; those at the right and lower edges are shifted back inside."""
    return working_area(HEIGHT, WIDTH, CLICKS, size=SIZE)


def whole_maps(network: Segmenter, source: ArraySource, area: WorkingArea) -> tuple[np.ndarray, np.ndarray]:
    """Classes (255 without data) and confidences of the raster, by plain calls of the network."""
    labels = np.full((HEIGHT, WIDTH), IGNORE, np.uint8)
    confidence = np.zeros((HEIGHT, WIDTH), np.float32)
    for tile in area.tiles:
        with torch.no_grad():
            logits = network(torch.from_numpy(source.read(tile.window).values)[None]).logits[0]
        best, index = logits.softmax(0)[:, tile.own_rows, tile.own_cols].max(0)
        cell = np.s_[tile.cell.row : tile.cell.end_row, tile.cell.col : tile.cell.end_col]
        labels[cell], confidence[cell] = index.numpy(), best.numpy()
    labels[~source._valid] = IGNORE
    return labels, confidence


def runner(source: ArraySource, **options) -> TileRunner:
    return TileRunner(source=source, device=torch.device("cpu"), precision="float32", **options)


def remembered(network, source, area, rule, clicks=CLICKS, **changes) -> MemoryView:
    options = {"keep_logits": False, "seed": 0, "progress": lambda *_: None, **changes}
    return view_of_memory(runner(source), network, area, clicks, rule, **options)


def test_each_tile_goes_through_the_network_once_and_in_order(memory_network, source, area) -> None:
    seen = []
    for position, tile, pixels, output in runner(source).outputs(memory_network.train(), area):
        assert tile is area.tiles[position]
        expected = source.read(tile.window)
        np.testing.assert_array_equal(pixels.values, expected.values)
        np.testing.assert_array_equal(pixels.valid, expected.valid)
        with torch.no_grad():
            torch.testing.assert_close(
                output.logits, memory_network(torch.from_numpy(expected.values)[None]).logits
            )
        assert output.logits.is_inference()
        seen.append(position)
    assert seen == list(range(6))
    assert not memory_network.training, "statistics of batch norms must not move"


def test_a_stop_is_obeyed_before_the_next_tile(memory_network, source, area) -> None:
    seen: list[int] = []
    tiles = runner(source, should_stop=lambda: len(seen) == 2).outputs(memory_network, area)
    seen += [next(tiles)[0], next(tiles)[0]]
    with pytest.raises(CancelledError, match="at tile 2 of 6"):
        next(tiles)
    assert seen == [0, 1]


def test_the_memory_keeps_its_map_and_logits_of_each_tile(memory_network, source, area) -> None:
    told: list[tuple[int, int]] = []
    memory = remembered(
        memory_network, source, area, PseudoLabelRule(kind="none"), keep_logits=True,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told == [(done, 6) for done in range(1, 7)]
    assert len(memory.pseudo_labels) == 0
    for tile, labels, logits in zip(area.tiles, memory.labels, memory.logits, strict=True):
        pixels = source.read(tile.window)
        with torch.no_grad():
            expected = memory_network(torch.from_numpy(pixels.values)[None]).logits[0]
        assert logits.dtype == torch.bfloat16
        torch.testing.assert_close(logits, expected.to(torch.bfloat16))
        np.testing.assert_array_equal(labels[pixels.valid], expected.argmax(0).numpy()[pixels.valid])
        assert (labels[~pixels.valid] == IGNORE).all()
    without = remembered(memory_network, source, area, PseudoLabelRule(kind="none"))
    assert without.logits == []


@pytest.mark.parametrize("multiple", [1.0, 2.5, 100.0])
def test_pseudo_labels_are_the_surest_pixels_of_the_whole_raster(
    memory_network, source, area, multiple
) -> None:
    labels, confidence = whole_maps(memory_network, source, area)
    surest = np.unravel_index(np.where(labels == 1, confidence, -1).argmax(), labels.shape)
    clicks = CLICKS.merged(ClickSet(*(np.array([int(value)]) for value in (*surest, 0))))
    confidence[clicks.rows, clicks.cols] = -1  # an annotator's word counts for more than the network's
    found = remembered(
        memory_network, source, area, PseudoLabelRule(multiple=multiple, threshold=0), clicks
    ).pseudo_labels
    amount = round(multiple * 3)
    for label in (1, 2):
        mine = found.of([label])
        candidates = np.sort(confidence[(labels == label) & (confidence >= 0)])[::-1]
        assert candidates[min(amount, len(candidates)) - 1] < 1, "ties are decided by chance"
        assert len(mine) == min(amount, len(candidates))
        assert (labels[mine.rows, mine.cols] == label).all()
        np.testing.assert_allclose(
            np.sort(confidence[mine.rows, mine.cols])[::-1], candidates[:amount], rtol=1e-5
        )
    assert len(found.of([0])) == 0, "the background is not of interest"


def test_pseudo_labels_above_a_threshold_are_drawn_by_the_seed(memory_network, source, area) -> None:
    labels, confidence = whole_maps(memory_network, source, area)
    rule = PseudoLabelRule(kind="threshold", threshold=0.6, multiple=5)
    one, again, other = (
        remembered(memory_network, source, area, rule, seed=seed).pseudo_labels for seed in (0, 0, 1)
    )
    assert (confidence[one.rows, one.cols] > 0.6).all()
    assert (labels[one.rows, one.cols] == one.labels).all()
    assert one.counts()[1] == 15
    np.testing.assert_array_equal(one.rows, again.rows)
    assert not (len(one) == len(other) and np.array_equal(one.rows, other.rows))


def test_pseudo_labels_that_fill_up_stand_in_for_the_clicks_a_class_lacks(
    memory_network, source, area
) -> None:
    rule = PseudoLabelRule(threshold=0, multiple=2)
    counts = {
        filling: remembered(
            memory_network, source, area, rule.model_copy(update={"fills_up": filling})
        ).pseudo_labels.counts()
        for filling in (False, True)
    }
    # three clicks of building are the most; road has one of its own, water none
    assert counts == {False: {1: 6, 2: 6}, True: {1: 4, 2: 6}}


def test_rows_of_labelled_pixels_give_the_networks_logits_there(updated_network, source, area) -> None:
    rows, means, columns = labelled_rows(
        runner(source), updated_network, area, CLICKS,
        with_classifier=True, with_prototypes=True, columns_of=None,
    )  # fmt: skip
    assert columns is None, "nobody asked"
    assert sorted(rows.classes.tolist()) == sorted(CLICKS.labels.tolist()), "each label once"
    weights = updated_network.classifier.weight.detach().flatten(1)
    logits = rows.features @ weights.T + updated_network.classifier.bias.detach()
    expected: list[np.ndarray] = []
    deepest: dict[int, list[torch.Tensor]] = {}
    for row, col, label in zip(CLICKS.rows, CLICKS.cols, CLICKS.labels, strict=True):
        tile = area.tiles[int(area.holding(np.array([row]), np.array([col]))[0])]
        with torch.no_grad():
            output = updated_network(torch.from_numpy(source.read(tile.window).values)[None])
        place = (int(row) - tile.window.row, int(col) - tile.window.col)
        expected.append(output.logits[0, :, place[0], place[1]].numpy())
        stride = SIZE // output.features.shape[2]
        deepest.setdefault(int(label), []).append(
            output.features[0, :, place[0] // stride, place[1] // stride]
        )
    order = [np.lexsort(np.asarray(found).T) for found in (logits.numpy(), expected)]
    np.testing.assert_allclose(logits.numpy()[order[0]], np.stack(expected)[order[1]], rtol=1e-3, atol=1e-2)
    assert means.valid.tolist() == [True, True, False, True]
    for label, features in deepest.items():
        torch.testing.assert_close(means.means[label], torch.stack(features).mean(0), rtol=1e-4, atol=1e-4)


def test_the_report_is_that_of_the_whole_maps(memory_network, updated_network, source, area) -> None:
    before, _ = whole_maps(memory_network, source, area)
    after, _ = whole_maps(updated_network, source, area)
    clicked = np.full((HEIGHT, WIDTH), IGNORE, np.uint8)
    clicked[CLICKS.rows, CLICKS.cols] = CLICKS.labels
    whole = ForgettingAccumulator(CLASSES, 3)
    whole.update(before, after, clicked)
    told: list[tuple[int, int]] = []
    memory = remembered(memory_network, source, area, PseudoLabelRule(kind="none"))
    found = compare_on_tiles(
        runner(source), updated_network, area, CLICKS, memory.labels,
        label_space=CLASSES, n_old=3, progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert found == whole.report()
    assert found.pixels == source._valid.sum(), "each pixel once, and none without data"
    assert not found.sampled
    assert told == [(done, 6) for done in range(1, 7)]


def test_the_report_of_a_part_of_the_raster_says_so(memory_network, updated_network, source) -> None:
    part = working_area(HEIGHT, WIDTH, CLICKS, size=SIZE, limit=2)
    memory = remembered(memory_network, source, part, PseudoLabelRule(kind="none"))
    found = compare_on_tiles(
        runner(source), updated_network, part, CLICKS, memory.labels,
        label_space=CLASSES, n_old=3, progress=lambda *_: None,
    )  # fmt: skip
    assert found.sampled
    valid = sum(
        int(source.read(tile.window).valid[tile.own_rows, tile.own_cols].sum()) for tile in part.tiles
    )
    assert found.pixels == valid < source._valid.sum()
