"""The crops that an update trains on: around labelled pixels (ours), or a grid over the image (ICSS)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch

from icss_core.data.batch import Batch, Crop, collate
from icss_core.data.random_crops import draw_flip
from icss_core.raster.windows import Window, count_origins, grid, origins

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from icss_core.clicks.click_set import ClickSet
    from icss_core.methods import CropRule
    from icss_core.raster.source import RasterSource
    from icss_core.updating.mosaic import Mosaic
    from icss_core.updating.tiles import Tile, WorkingArea


@dataclass(frozen=True, slots=True, kw_only=True)
class CropSource:
    """What crops are cut from: the image, its labels, and the outputs of the memory network."""

    source: RasterSource
    area: WorkingArea
    labels: ClickSet
    """Clicks and pseudo-labels."""
    maps: Mapping[str, Mosaic] = field(default_factory=dict)
    """Outputs of the memory network by name; cut and mirrored together with the pixels."""
    facts: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors of one axis about the whole image, by name; every crop gets the same."""

    def batch(self, crops: Sequence[Crop], size: int) -> Batch:
        """A batch of the crops, each of `size` x `size` pixels."""
        windows = [Window(crop.row, crop.col, size, size) for crop in crops]
        # flips name rows and columns as 0 and 1; as axes -2 and -1 they fit arrays of any number of axes
        axes = [tuple(axis - 2 for axis in crop.flip) for crop in crops]
        pixels = [np.flip(self.source.read(w).values, a) for w, a in zip(windows, axes, strict=True)]
        labels = [np.flip(self.labels.label_map(w), a) for w, a in zip(windows, axes, strict=True)]
        batch = replace(collate(pixels, labels), crops=tuple(crops))
        extras = {
            name: torch.stack([torch.flip(mosaic.read(w), a) for w, a in zip(windows, axes, strict=True)])
            for name, mosaic in self.maps.items()
        }
        extras |= {name: one.expand(len(crops), -1) for name, one in self.facts.items()}
        return replace(batch, extras=extras)


class Crops(Protocol):
    """Says which crops an iteration sees."""

    side: int
    """Of the crops, in pixels."""

    def __call__(self, iteration: int) -> list[Crop]:
        """Those of an iteration, from 0: a pure function of it."""


class CropBatches:
    """Batches of the crops of one or several kinds, all of one side.

    Args:
        image: what to cut from.
        crops: which; those of the first kind come first in a batch.
        rank: number of this process, of those that train together.
        world: how many there are; together they see the batches of one process that iterates as often more.
    """

    def __init__(self, image: CropSource, crops: Sequence[Crops], *, rank: int = 0, world: int = 1) -> None:
        self._image, self._crops, self._rank, self._world = image, crops, rank, world

    def __call__(self, iteration: int) -> Batch:
        """The batch of an iteration."""
        number = iteration * self._world + self._rank
        chosen = [crop for crops in self._crops for crop in crops(number)]
        return replace(self._image.batch(chosen, self._crops[0].side), iteration=iteration)


class LabelledCrops:
    """Random crops that each contain at least one labelled pixel.

    Drawn in this order: a class, uniformly among those with labels; one of its labelled pixels; a crop that
    contains this pixel and lies in its tile. So rare classes are seen as often as common ones.

    Args:
        image: what to cut from; labels outside its working area are not used.
        rule: size, batch and flips.
        seed: decides everything random.
    """

    def __init__(self, image: CropSource, rule: CropRule, *, seed: int) -> None:
        self._image, self._rule, self._seed = image, rule, seed
        self.side = min(rule.size, image.area.size)
        labels = image.labels
        self._owner = image.area.holding(labels.rows, labels.cols)
        self._by_class = [
            np.flatnonzero((labels.labels == label) & (self._owner >= 0))
            for label in np.unique(labels.labels[self._owner >= 0])
        ]

    def __call__(self, iteration: int) -> list[Crop]:
        """See `Crops`."""
        rng = np.random.default_rng([self._seed, iteration])
        return [self._place(rng) for _ in range(self._rule.batch)]

    def _place(self, rng: np.random.Generator) -> Crop:
        members = self._by_class[int(rng.integers(len(self._by_class)))]
        chosen = int(members[rng.integers(len(members))])
        area, labels = self._image.area, self._image.labels
        tile: Tile = area.tiles[self._owner[chosen]]
        row = int(labels.rows[chosen]) - tile.window.row
        col = int(labels.cols[chosen]) - tile.window.col
        free = area.size - self.side
        return Crop(
            tile.window.row + _start(row, self.side, free, rng),
            tile.window.col + _start(col, self.side, free, rng),
            draw_flip(rng) if self._rule.flips else (),
        )


def _start(position: int, size: int, free: int, rng: np.random.Generator) -> int:
    """A random start in [0, free] such that [start, start + size) contains `position`."""
    low, high = max(position - size + 1, 0), min(position, free)
    return int(rng.integers(low, high + 1))


class SweepCrops:
    """All windows of a regular grid over the working area, whether labelled or not (ICSS).

    One pass over all windows is a sweep; each sweep has a new random order. The published code repeats edge
    windows; here every window occurs once in a sweep. The last batch of a sweep is filled with the first
    windows of the next one.

    Args:
        image: what to cut from.
        rule: size, overlap, batch and flips.
        seed: decides everything random.
        windows: of one sweep, all of one size; None: those of `sweep_windows`.
    """

    def __init__(
        self, image: CropSource, rule: CropRule, *, seed: int, windows: Sequence[Window] | None = None
    ) -> None:
        self._rule, self._seed = rule, seed
        self.windows = (
            sweep_windows(image.source.height, image.source.width, image.area, rule)
            if windows is None
            else windows
        )
        self.side = self.windows[0].height
        self._last: tuple[int, NDArray[np.int64]] | None = None

    def __call__(self, iteration: int) -> list[Crop]:
        """See `Crops`."""
        crops = []
        for position in range(iteration * self._rule.batch, (iteration + 1) * self._rule.batch):
            sweep, place = divmod(position, len(self.windows))
            window = self.windows[int(self._order(sweep)[place])]
            draw = np.random.default_rng([self._seed, sweep, place])
            crops.append(Crop(window.row, window.col, draw_flip(draw) if self._rule.flips else ()))
        return crops

    def _order(self, sweep: int) -> NDArray[np.int64]:
        """Indices of the windows in the order of a sweep, which is kept until another sweep is asked for."""
        # read once and set once: batches may be made in several threads
        last = self._last
        if last is None or last[0] != sweep:
            order = np.random.default_rng([self._seed, sweep]).permutation(len(self.windows))
            last = self._last = (sweep, order)
        return last[1]


def sweep_windows(height: int, width: int, area: WorkingArea, rule: CropRule) -> list[Window]:
    """The windows of one sweep, which together cover the working area.

    They are a grid over the raster if the working area covers all of it, otherwise a grid over each tile.
    Their side is `rule.size`, or that of a tile if this is smaller.

    Args:
        height: of the raster, pixels.
        width: of the raster, pixels.
        area: the tiles.
        rule: size and overlap.
    """
    size = min(rule.size, area.size)
    stride = rule.stride(size)
    if area.whole:
        return list(grid(height, width, window=size, stride=stride))
    inner = list(grid(area.size, area.size, window=size, stride=stride))
    windows = [
        Window(tile.window.row + one.row, tile.window.col + one.col, size, size)
        for tile in area.tiles
        for one in inner
    ]
    return list(dict.fromkeys(windows))  # tiles at the edges may overlap


def count_sweep_windows(height: int, width: int, area: WorkingArea, rule: CropRule) -> int:
    """The number of windows of `sweep_windows`, computed without making the list, which may be too long.

    Args:
        height: of the raster, pixels.
        width: of the raster, pixels.
        area: the tiles.
        rule: size and overlap.
    """
    size = min(rule.size, area.size)
    stride = rule.stride(size)
    if area.whole:
        return count_origins(height, size, stride) * count_origins(width, size, stride)
    across = origins(area.size, size, stride)
    # Only the last tiles of a row or column, shifted back inside, overlap those before them.
    rows, cols = _overlap_of_last(height, area.size, across), _overlap_of_last(width, area.size, across)
    tiles = {(tile.cell.row // area.size, tile.cell.col // area.size) for tile in area.tiles}
    above = {(row, col) for row, col in tiles if row == rows.last and (row - 1, col) in tiles}
    beside = {(row, col) for row, col in tiles if col == cols.last and (row, col - 1) in tiles}
    count = len(tiles) * len(across) ** 2
    count -= (len(above) * rows.shared + len(beside) * cols.shared) * len(across)
    # Up to four tiles overlap at the lower right corner. Their common windows were counted once for each tile
    # and subtracted once for each pair of neighbours; they must remain counted exactly once.
    corner = {(rows.last - i, cols.last - j) for i in (0, 1) for j in (0, 1)}
    if corner & tiles:
        left = len(corner & tiles) - len(corner & above) - len(corner & beside)
        count += (1 - left) * rows.shared * cols.shared
    return count


class _Overlap(NamedTuple):
    last: int
    """Position of the last tile along an axis."""
    shared: int
    """Window origins that it has in common with the tile before it."""


def _overlap_of_last(length: int, size: int, across: list[int]) -> _Overlap:
    """How the last tile along an axis, whose windows begin at `across` in it, overlaps the tile before."""
    last = -(-length // size) - 1
    shift = length - size * last  # from the tile before to the last, which ends with the raster
    return _Overlap(last, len({one + shift for one in across} & set(across)) if last else 0)
