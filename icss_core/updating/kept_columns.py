"""Features of the memory network on the tiles of an update, kept as long as they fit.

An update looks at its tiles up to four times: for pseudo-labels, for the features of labelled pixels, for how
common the new classes are, and for its report. Where encoder and decoder are the same each time, as before
any training, and always where only heads are fitted, the features need not be computed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.updating.tiles import Tile

LIMIT: Final = 2**29
"""Bytes: about 20 tiles of 512 pixels of a Linknet, in 16 bits."""


class KeptColumns:
    """Columns (`SegmenterOutput.columns`) by tile; those that come first, up to a limit.

    Args:
        limit: most bytes.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._left = limit
        self._columns: dict[tuple[int, int], tuple[Tensor, ...]] = {}

    def of(self, tile: Tile) -> tuple[Tensor, ...] | None:
        """What is kept of a tile; None: nothing."""
        return self._columns.get((tile.window.row, tile.window.col))

    def keep(self, tile: Tile, columns: tuple[Tensor, ...]) -> None:
        """Keep the columns of a tile, if there is room."""
        size = sum(one.numel() * one.element_size() for one in columns)
        key = (tile.window.row, tile.window.col)
        if size <= self._left and key not in self._columns:
            self._columns[key] = columns
            self._left -= size
