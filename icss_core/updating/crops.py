"""Which crops an update sees: around labelled pixels (ours), or a grid swept over the image (ICSS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from icss_core.raster.windows import Window, grid
from icss_core.sampling import Batch, collate, draw_flip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from icss_core.clicks.click_set import ClickSet
    from icss_core.methods.preset import CropRule
    from icss_core.raster.source import RasterSource
    from icss_core.updating.tiles import Tile, WorkingArea


class LabelledCrops:
    """Random crops that hold at least one labelled pixel, with the memory network's logits if there are any.

    A class is drawn uniformly among those with labels, then one of its labelled pixels, then a crop of the
    pixel's tile that contains it: rare classes are seen as often as common ones.

    Args:
        source: the image.
        area: where the crops come from.
        labels: clicks and pseudo-labels inside the area.
        rule: size, batch and flips.
        seed: of everything random.
        memory_logits: per tile (O, size, size), or None.
    """

    def __init__(
        self,
        source: RasterSource,
        area: WorkingArea,
        labels: ClickSet,
        rule: CropRule,
        *,
        seed: int,
        memory_logits: Sequence[Tensor] | None = None,
    ) -> None:
        self._source, self._area, self._labels, self._rule = source, area, labels, rule
        self._seed, self._memory_logits = seed, memory_logits
        self._size = min(rule.size, area.size)
        self._owner = area.holding(labels.rows, labels.cols)
        self._by_class = [np.flatnonzero(labels.labels == label) for label in np.unique(labels.labels)]

    def __call__(self, step: int) -> Batch:
        """The batch of a step."""
        rng = np.random.default_rng([self._seed, step])
        pixels, labels, memory = [], [], []
        for _ in range(self._rule.batch):
            tile, row, col = self._place(rng)
            window = Window(tile.window.row + row, tile.window.col + col, self._size, self._size)
            axes = tuple(axis - 2 for axis in (draw_flip(rng) if self._rule.flips else ()))
            pixels.append(np.flip(self._source.read(window).values, axes))
            labels.append(np.flip(self._labels.label_map(window), axes))
            if self._memory_logits is not None:
                logits = self._memory_logits[self._area.tiles.index(tile)]
                crop = logits[:, row : row + self._size, col : col + self._size]
                memory.append(torch.flip(crop, axes))
        return collate(pixels, labels, memory or None)

    def _place(self, rng: np.random.Generator) -> tuple[Tile, int, int]:
        """A tile and the crop's position in its window."""
        members = self._by_class[int(rng.integers(len(self._by_class)))]
        chosen = int(members[rng.integers(len(members))])
        tile = self._area.tiles[self._owner[chosen]]
        row = int(self._labels.rows[chosen]) - tile.window.row
        col = int(self._labels.cols[chosen]) - tile.window.col
        free = self._area.size - self._size
        return tile, _start(row, self._size, free, rng), _start(col, self._size, free, rng)


def _start(position: int, size: int, free: int, rng: np.random.Generator) -> int:
    """A start in [0, free] such that [start, start + size) holds `position`."""
    low, high = max(position - size + 1, 0), min(position, free)
    return int(rng.integers(low, high + 1))


class SweepCrops:
    """Windows of a regular grid over the whole image, labels or not, in a new order each sweep (ICSS).

    The published code repeats edge windows; here every window occurs once in a sweep. A sweep's last batch is
    filled up from the next sweep.
    """

    def __init__(self, source: RasterSource, labels: ClickSet, rule: CropRule, *, seed: int) -> None:
        self._source, self._labels, self._rule, self._seed = source, labels, rule, seed
        self.windows = list(grid(source.height, source.width, window=rule.size, stride=rule.stride))

    def __call__(self, step: int) -> Batch:
        """The batch of a step."""
        pixels, labels = [], []
        for position in range(step * self._rule.batch, (step + 1) * self._rule.batch):
            sweep, place = divmod(position, len(self.windows))
            order = np.random.default_rng([self._seed, sweep])
            window = self.windows[int(order.permutation(len(self.windows))[place])]
            axes = tuple(axis - 2 for axis in (draw_flip(order) if self._rule.flips else ()))
            pixels.append(np.flip(self._source.read(window).values, axes))
            labels.append(np.flip(self._labels.label_map(window), axes))
        return collate(pixels, labels)
