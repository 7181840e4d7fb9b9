"""Working areas: cells partition the raster, and clicks decide what a huge raster shows."""

import numpy as np
import pytest

from icss_core.clicks import ClickSet
from icss_core.updating.tiles import working_area


def clicks_at(*points: tuple[int, int]) -> ClickSet:
    rows, cols = np.array(points, dtype=np.int64).reshape(-1, 2).T
    return ClickSet(rows, cols, np.ones(len(points), np.int64))


@pytest.mark.parametrize(("height", "width"), [(512, 512), (1000, 700), (1537, 513), (100, 900), (40, 30)])
def test_cells_partition_the_raster_and_lie_in_their_windows(height, width):
    area = working_area(height, width, clicks_at((0, 0)))
    seen = np.zeros((height, width), int)
    for tile in area.tiles:
        seen[tile.cell.row : tile.cell.end_row, tile.cell.col : tile.cell.end_col] += 1
        assert tile.window.height == tile.window.width == area.size
        assert tile.window.row <= tile.cell.row
        assert tile.cell.end_row <= tile.window.end_row
        assert tile.window.end_row <= max(height, area.size)
        assert tile.cell == type(tile.cell)(
            tile.window.row + tile.own_rows.start,
            tile.window.col + tile.own_cols.start,
            tile.own_rows.stop - tile.own_rows.start,
            tile.own_cols.stop - tile.own_cols.start,
        )
    assert (seen == 1).all()
    assert area.whole
    assert area.size % 32 == 0


def test_huge_raster_gives_the_tiles_with_most_clicks_and_some_others():
    points = [(5000, 5000), (5001, 5001), (20_000, 100), (29_999, 29_999)]
    area = working_area(30_000, 30_000, clicks_at(*points), limit=10, seed=4)
    assert len(area.tiles) == 10
    assert not area.whole
    owner = area.holding(*np.array(points).T)
    assert (owner >= 0).all()
    assert owner[0] == owner[1]
    for (row, col), position in zip(points, owner, strict=True):
        cell = area.tiles[position].cell
        assert cell.row <= row < cell.end_row
        assert cell.col <= col < cell.end_col
    assert area == working_area(30_000, 30_000, clicks_at(*points), limit=10, seed=4)


def test_more_clicked_tiles_than_the_limit_keeps_the_fullest():
    points = [(600 * i, 0) for i in range(20)] + [(600 * 7, 5), (600 * 9, 5)]
    area = working_area(20_000, 600, clicks_at(*points), limit=2)
    owner = area.holding(np.array([600 * 7, 600 * 9, 0]), np.array([5, 5, 0]))
    assert (owner[:2] >= 0).all()
    assert owner[2] == -1
