from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from small_networks import Convolutions, lived_in_segmenter
from torch import Tensor, nn

from icss_core.errors import CancelledError, ImageUnreadableError, InvalidParameterError
from icss_core.inference import (
    DEFAULT_TILING,
    PAPER_TILING,
    ArraySink,
    Tiling,
    predict,
    prepare_for_inference,
)
from icss_core.inference.blending import axis_weights
from icss_core.inference.tiling import RowRange
from icss_core.raster.reader import ArraySource, Pixels

if TYPE_CHECKING:
    from icss_core.raster.windows import Window

TILINGS = [
    Tiling(window=64, overlap=0, blend="constant"),
    Tiling(window=64, overlap=32, blend="constant"),
    Tiling(window=64, overlap=32),
    Tiling(window=64, overlap=8),
    Tiling(window=64, overlap=50),
    Tiling(window=96, overlap=83, blend="constant"),
]


class OrderedSink(ArraySink):
    """Rows that must come one after another, each once."""

    next = 0

    def write(self, row: int, labels: np.ndarray, confidence: np.ndarray | None) -> None:
        assert row == self.next
        self.next += len(labels)
        super().write(row, labels, confidence)


def image(height: int, width: int, bands: int = 3, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (bands, height, width)).astype(dtype)


def run(network: nn.Module, source: object, n_classes: int = 5, **options: object) -> ArraySink:
    sink = ArraySink(source.height, source.width)
    predict(network, source, sink, n_classes=n_classes, **options)
    return sink


def mirrored(length: int, longer: int) -> list[int]:
    """Indices 0 1 2 2 1 0 0 1 ... of a row that is continued by its mirror image."""
    there_and_back = [*range(length), *reversed(range(length))]
    return [there_and_back[index % (2 * length)] for index in range(longer)]


def naive(network: nn.Module, pixels: np.ndarray, tiling: Tiling) -> Tensor:
    """Mean logits (K, H, W) float64 with full-size buffers, one window at a time."""
    _, height, width = pixels.shape
    layout = tiling.layout(height, width)
    rows, cols = layout.window_height, layout.window_width
    weights = (axis_weights(rows, tiling.blend)[:, None] * axis_weights(cols, tiling.blend)).double()
    padded = pixels[:, mirrored(height, max(height, rows))][:, :, mirrored(width, max(width, cols))]
    sums: Tensor | float = 0.0
    count = torch.zeros(padded.shape[1:], dtype=torch.float64)
    for window in layout:
        part = np.s_[window.row : window.end_row, window.col : window.end_col]
        with torch.no_grad():
            logits = network(torch.from_numpy(padded[(slice(None), *part)][None].astype(np.float32)))
        logits = getattr(logits, "logits", logits)[0].double()
        if isinstance(sums, float):
            sums = torch.zeros(len(logits), *padded.shape[1:], dtype=torch.float64)
        sums[(slice(None), *part)] += logits * weights
        count[part] += weights
    return (sums / count)[:, :height, :width]


@pytest.mark.parametrize("tiling", TILINGS, ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_parts_are_the_rows_of_the_whole(tiling: Tiling, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icss_core.inference.tiling.BANDS_OF_A_PART", 2)
    network = Convolutions().eval()
    source = ArraySource(image(700, 131, dtype=dtype))
    whole = run(network, source, tiling=tiling, confidence=True)
    parts = tiling.layout(700, 131).parts(131 * 200)
    assert len(parts) > 2
    together = OrderedSink(700, 131)
    windows: list[int] = []
    for part in parts:
        assert together.next == part.first
        predict(
            network, source, together, n_classes=5, tiling=tiling, confidence=True, part=part,
            progress=lambda _, of_part: windows.append(of_part),
        )  # fmt: skip
    assert together.next == 700
    np.testing.assert_array_equal(together.labels, whole.labels)
    np.testing.assert_array_equal(together.confidence, whole.confidence)
    assert max(windows) < len(tiling.layout(700, 131))


def test_part_within_a_band_is_refused() -> None:
    source = ArraySource(image(300, 64))
    with pytest.raises(InvalidParameterError, match="rows 10 to 63 are not whole bands"):
        run(Convolutions().eval(), source, tiling=Tiling(window=64, overlap=0), part=RowRange(10, 64))


@pytest.mark.parametrize("tiling", TILINGS, ids=str)
@pytest.mark.parametrize("size", [(200, 131), (64, 64), (65, 400), (40, 300), (7, 9)], ids=str)
def test_equals_full_size_buffers(tiling: Tiling, size: tuple[int, int]) -> None:
    network = Convolutions().eval()
    pixels = image(*size)
    sink = run(network, ArraySource(pixels), tiling=tiling, confidence=True, precision="float32")
    best = naive(network, pixels, tiling).softmax(0).max(0)
    np.testing.assert_allclose(sink.confidence, best.values.numpy(), atol=1e-5)
    margin = np.diff(np.sort(naive(network, pixels, tiling).numpy(), axis=0)[-2:], axis=0)[0]
    clear = margin > 1e-5
    np.testing.assert_array_equal(sink.labels[clear], best.indices.numpy()[clear])
    assert clear.mean() > 0.99


@pytest.mark.parametrize("tiling", TILINGS[:4], ids=str)
def test_equals_monai(tiling: Tiling) -> None:
    inferers = pytest.importorskip("monai.inferers")
    network = lived_in_segmenter()
    pixels = image(200, 260)

    def theirs(**options: object) -> torch.return_types.max:
        with torch.no_grad():
            logits = inferers.sliding_window_inference(
                torch.from_numpy(pixels[None].astype(np.float32)),
                (tiling.window, tiling.window),
                4,
                lambda batch: network(batch).logits,
                overlap=tiling.overlap / tiling.window,
                mode=tiling.blend,
                **options,
            )
        return logits[0].softmax(0).max(0)

    ours = run(network, ArraySource(pixels), 4, tiling=tiling, confidence=True, precision="float32")
    weights = axis_weights(tiling.window, tiling.blend)
    same_weights = theirs(roi_weight_map=(weights[:, None] * weights)[None, None])
    np.testing.assert_allclose(ours.confidence, same_weights.values.numpy(), atol=1e-5)
    assert (ours.labels == same_weights.indices.numpy()).mean() > 0.9999
    # Unlike ours, MONAI's gaussian weights stop falling at 0.001 (see `axis_weights`). Pure noise is the
    # worst case: windows disagree wherever they overlap.
    assert (ours.labels == theirs().indices.numpy()).mean() > (0.98 if tiling.blend == "gaussian" else 0.9999)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_result_does_not_depend_on_batch(precision: str) -> None:
    network = prepare_for_inference(lived_in_segmenter(), precision)
    source = ArraySource(image(300, 333))
    results = [
        run(network, source, 4, tiling=Tiling(window=64, overlap=16, batch=batch), confidence=True)
        for batch in (1, 3, 16, 1000)
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(other.labels, results[0].labels)
        np.testing.assert_array_equal(other.confidence, results[0].confidence)


def test_result_does_not_depend_on_what_was_predicted_before() -> None:
    network = prepare_for_inference(lived_in_segmenter(), "float32")
    first = run(network, ArraySource(image(150, 150)), 4, tiling=Tiling(window=64, overlap=16)).labels
    run(network, ArraySource(255 - image(99, 300)), 4)
    again = run(network, ArraySource(image(150, 150)), 4, tiling=Tiling(window=64, overlap=16)).labels
    np.testing.assert_array_equal(first, again)


class Recorder(Convolutions):
    """Remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Tensor] = []

    def forward(self, pixels: Tensor) -> Tensor:
        self.given.append(pixels.clone())
        return super().forward(pixels)


class CountingSource(ArraySource):
    """An array that knows how often each window was read."""

    def __init__(self, values: np.ndarray, valid: np.ndarray | None = None) -> None:
        super().__init__(values, valid)
        self.reads: Counter[Window] = Counter()

    def read(self, window: Window) -> Pixels:
        self.reads[window] += 1
        return super().read(window)


def test_no_data_is_255_and_windows_without_any_data_are_not_predicted() -> None:
    valid = np.zeros((256, 320), bool)
    valid[100:140, 130:150] = True
    source = CountingSource(image(256, 320), valid)
    prepared = prepare_for_inference(Recorder(), "float32")
    prepared.network.given.clear()  # the example that preparation used
    sink = run(prepared, source, tiling=Tiling(window=64, overlap=0), confidence=True)
    assert ((sink.labels != 255) == valid).all()
    assert (sink.confidence[~valid] == 0).all()
    assert (sink.confidence[valid] > 0).all()
    given = torch.cat(prepared.network.given)
    assert sum(bool(window.any()) for window in given) == 2
    assert set(source.reads.values()) == {1}
    assert len(source.reads) == 20


def test_pixels_without_data_are_zeros_to_the_network() -> None:
    pixels = image(64, 64, dtype="float32")
    pixels[0, 10, 10] = np.nan
    pixels[1, 20, 20] = np.inf
    prepared = prepare_for_inference(Recorder(), "float32")
    prepared.network.given.clear()
    sink = run(prepared, ArraySource(pixels), tiling=Tiling(window=64, overlap=0))
    assert (sink.labels == 255).sum() == 2
    assert torch.isfinite(prepared.network.given[0]).all()
    assert not prepared.network.given[0][:, :, 10, 10].any()


def test_windows_skipped_change_nothing_elsewhere() -> None:
    network = prepare_for_inference(Convolutions(), "float32")
    valid = np.ones((256, 256), bool)
    valid[:, 128:] = False  # whole columns of windows
    pixels = image(256, 256)
    pixels[:, ~valid] = 0
    tiling = Tiling(window=64, overlap=32)
    with_data = run(network, ArraySource(pixels), tiling=tiling, confidence=True)
    skipped = run(network, ArraySource(pixels, valid), tiling=tiling, confidence=True)
    np.testing.assert_array_equal(skipped.labels[valid], with_data.labels[valid])
    np.testing.assert_allclose(skipped.confidence[valid], with_data.confidence[valid], atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_any_real_dtype(dtype: str) -> None:
    network = prepare_for_inference(Convolutions(), "float32")
    found = run(network, ArraySource(image(70, 90, dtype=dtype)), tiling=Tiling(window=64, overlap=8)).labels
    expected = run(network, ArraySource(image(70, 90)), tiling=Tiling(window=64, overlap=8)).labels
    np.testing.assert_array_equal(found, expected)


def test_rows_come_once_in_order() -> None:
    class Orderly:
        def __init__(self) -> None:
            self.next = 0

        def write(self, row: int, labels: np.ndarray, confidence: np.ndarray | None) -> None:
            assert row == self.next
            assert labels.shape[1] == 150
            assert confidence is None
            self.next += len(labels)

    for height in (33, 64, 200, 257):
        for tiling in TILINGS[:5]:
            sink = Orderly()
            predict(Convolutions(), ArraySource(image(height, 150)), sink, n_classes=5, tiling=tiling)
            assert sink.next == height


def test_progress_ends_at_the_number_of_windows() -> None:
    seen: list[tuple[int, int]] = []
    tiling = Tiling(window=64, overlap=0)
    run(
        Convolutions(), ArraySource(image(1000, 1000)), tiling=tiling,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen[-1] == (256, 256)
    assert len(seen) > 1
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_stops_on_request() -> None:
    asked = iter([False, True])
    source = CountingSource(image(1000, 1000))
    with pytest.raises(CancelledError, match=r"after 64 of 256 windows"):
        run(
            Convolutions(), source, tiling=Tiling(window=64, overlap=0), precision="float32",
            should_stop=lambda: next(asked),
        )  # fmt: skip
    assert sum(source.reads.values()) < 1000


def test_errors_of_the_source_arrive() -> None:
    class Damaged(ArraySource):
        def read(self, window: Window) -> Pixels:
            if window.row > 0:
                raise ImageUnreadableError("rows 64 to 127 cannot be read")
            return super().read(window)

    with pytest.raises(ImageUnreadableError, match="rows 64"):
        run(Convolutions(), Damaged(image(128, 128)), tiling=Tiling(window=64, overlap=0))


def test_a_network_with_another_number_of_classes_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match=r"not \(1, 7, 64, 64\)"):
        run(Convolutions(), ArraySource(image(64, 64)), 7)


def test_the_network_is_left_as_it_was() -> None:
    network = lived_in_segmenter().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    run(network, ArraySource(image(64, 64)), 4)
    assert network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(weight.dtype == torch.float32 for weight in network.parameters())


def test_default_tiling_agrees_with_the_papers() -> None:
    network = Convolutions()
    source = ArraySource(image(600, 600))
    ours, paper = (run(network, source, tiling=tiling).labels for tiling in (DEFAULT_TILING, PAPER_TILING))
    assert (ours == paper).mean() > 0.99
