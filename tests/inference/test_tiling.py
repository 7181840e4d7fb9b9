from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from icss_core.errors import InvalidParameterError
from icss_core.inference import DEFAULT_TILING, PAPER_TILING, MultiScale, Tiling
from icss_core.inference.blending import axis_weights, summed_weights
from icss_core.inference.strip import StripAccumulator


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 100}, "multiple of 32"),
        ({"window": 0}, "multiple of 32"),
        ({"overlap": 512}, "0 to 511"),
        ({"overlap": -1}, "0 to 511"),
        ({"blend": "cosine"}, "gaussian"),
        ({"batch": 0}, "at least 1"),
    ],
)
def test_wrong_numbers_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        Tiling(**options)


def test_windows_cover_every_pixel_and_stay_inside() -> None:
    for height, width in ((512, 512), (513, 900), (2000, 577), (30, 700), (1, 1)):
        for tiling in (DEFAULT_TILING, PAPER_TILING, Tiling(window=64, overlap=0)):
            layout = tiling.layout(height, width)
            covered = np.zeros((height, width), int)
            for window in layout:
                covered[window.row : window.end_row, window.col : window.end_col] += 1
                assert window.end_row <= max(height, layout.window_height)
                assert window.end_col <= max(width, layout.window_width)
            assert covered.min() >= 1
            assert len(list(layout)) == len(layout) == len(set(layout))


def test_only_the_shifted_last_row_of_windows_joins_the_one_before() -> None:
    assert Tiling(window=64, overlap=0).layout(192, 64).bands == ((0,), (64,), (128,))
    assert Tiling(window=64, overlap=0).layout(200, 64).bands == ((0,), (64,), (128, 136))
    assert Tiling(window=64, overlap=0).layout(70, 64).bands == ((0, 6),)
    assert Tiling(window=64, overlap=0).layout(50, 64).bands == ((0,),)


def test_parts_share_the_rows_evenly_and_repeat_few_windows() -> None:
    layout = DEFAULT_TILING.layout(50_000, 20_000)
    parts = layout.parts(2**28)
    assert [parts[0].first, parts[-1].end] == [0, 50_000]
    assert all(one.end == other.first for one, other in itertools.pairwise(parts))
    sizes = [part.end - part.first for part in parts]
    assert len(parts) == 4
    assert max(sizes) - min(sizes) < 2 * 448
    windows = sum(len(layout.only(part)) for part in parts)
    assert len(layout) < windows < 1.05 * len(layout)


def test_raster_with_few_rows_of_windows_is_one_part() -> None:
    assert DEFAULT_TILING.layout(8_000, 100_000).parts(2**20) == ((0, 8_000),)


def test_small_rasters_get_small_windows() -> None:
    layout = DEFAULT_TILING.layout(70, 1000)
    assert (layout.window_height, layout.window_width) == (96, 512)
    assert layout.rows == (0,)


def test_paper_tiling_passes_four_times_over_a_pixel_and_ours_less_than_half_as_often() -> None:
    paper, ours = PAPER_TILING.layout(8192, 8192), DEFAULT_TILING.layout(8192, 8192)
    passes = [len(layout) * layout.window_height * layout.window_width / 8192**2 for layout in (paper, ours)]
    assert passes[0] == pytest.approx(63**2 * 256**2 / 8192**2)
    assert passes[1] < 0.4 * passes[0]


@pytest.mark.parametrize("blend", ["constant", "gaussian"])
@pytest.mark.parametrize("length", [32, 96, 512])
def test_weights_are_positive_symmetric_and_at_most_one(length: int, blend: str) -> None:
    weights = axis_weights(length, blend)
    assert weights.shape == (length,)
    assert weights.dtype == torch.float32
    assert weights.min() > 0
    assert weights.max() <= 1
    torch.testing.assert_close(weights, weights.flip(0))


def test_gaussian_is_monais_where_monai_does_not_raise_it() -> None:
    monai = pytest.importorskip("monai.data.utils")
    theirs = monai.compute_importance_map((128, 96), mode="gaussian", sigma_scale=0.125)
    ours = axis_weights(128, "gaussian")[:, None] * axis_weights(96, "gaussian")
    torch.testing.assert_close(ours.clamp_min(1e-3), theirs, rtol=1e-4, atol=1e-6)


def test_summed_weights_equal_those_laid_down_window_by_window() -> None:
    layout = Tiling(window=64, overlap=40).layout(200, 131)
    row_weights = axis_weights(layout.window_height, "gaussian")
    col_weights = axis_weights(layout.window_width, "gaussian")
    plain = torch.zeros(layout.height, layout.width)
    for window in layout:
        plain[window.row : window.end_row, window.col : window.end_col] += row_weights[:, None] * col_weights
    rows = summed_weights(layout.height, layout.rows, row_weights)
    cols = summed_weights(layout.width, layout.cols, col_weights)
    torch.testing.assert_close(rows[:, None] * cols, plain)


@pytest.mark.parametrize("tiling", [DEFAULT_TILING, PAPER_TILING, Tiling(window=64, overlap=63)])
@pytest.mark.parametrize("size", [(30, 700), (513, 90), (65, 64), (1, 1)])
@pytest.mark.parametrize("scales", [None, (0.5, 1.0, 1.5), (0.25, 0.26)])
def test_cost_is_that_of_the_windows_that_the_network_gets(
    tiling: Tiling, size: tuple[int, int], scales: tuple[float, ...] | None
) -> None:
    layout = tiling.layout(*size)
    seen: list[int] = []

    class Counting(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            seen.append(pixels.shape[-2] * pixels.shape[-1])
            return pixels

    network = Counting() if scales is None else MultiScale(Counting(), scales)
    network(torch.zeros(1, 1, layout.window_height, layout.window_width))
    assert tiling.network_pixels(*size, scales) == len(layout) * sum(seen)


def test_cost_of_a_huge_raster_is_arithmetic() -> None:
    tiling = Tiling(window=64, overlap=63)
    assert tiling.network_pixels(10**6, 10**6) == (10**6 - 63) ** 2 * 64 * 64


@pytest.mark.parametrize("tiling", [DEFAULT_TILING, PAPER_TILING, Tiling(window=256, overlap=224)])
@pytest.mark.parametrize("size", [(700, 1500), (200, 3000), (300, 300)])
def test_memory_is_that_of_the_sums(tiling: Tiling, size: tuple[int, int]) -> None:
    layout = tiling.layout(*size)
    sums = StripAccumulator(layout, 5, blend="constant", confidence=False, device=torch.device("cpu"))
    valid = np.ones((layout.window_height, layout.window_width), bool)
    largest = 0
    for _ in layout:
        sums.add(None, valid)
        largest = max(largest, 4 * (sums._open.numel() + sums._next_carried.numel()))
    promised = tiling.held_bytes(*size, 5)
    assert largest <= promised <= 4 * largest
