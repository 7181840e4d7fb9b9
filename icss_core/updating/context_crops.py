"""The crops of context images: anywhere, since nothing is labelled there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icss_core.data.batch import Crop
from icss_core.data.random_crops import draw_flip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.methods import CropRule
    from icss_core.updating.tiles import WorkingArea


class ContextCrops:
    """Random crops of the tiles of context images.

    Drawn in this order: an image, uniformly; one of its tiles; a place in it. So small images are seen as
    often as large ones.

    Args:
        areas: tiles of each image, at least one each.
        rule: size and flips.
        number: crops in an iteration.
        seed: decides everything random.
    """

    def __init__(self, areas: Sequence[WorkingArea], rule: CropRule, *, number: int, seed: int) -> None:
        self._areas, self._rule, self._number, self._seed = areas, rule, number, seed
        self.side = min(rule.size, areas[0].size)

    def __call__(self, iteration: int) -> list[Crop]:
        """See `Crops`."""
        # another sequence than that of the labelled crops of the same seed and iteration
        rng = np.random.default_rng([self._seed, iteration, 1])
        return [self._place(rng) for _ in range(self._number)]

    def _place(self, rng: np.random.Generator) -> Crop:
        area = self._areas[int(rng.integers(len(self._areas)))]
        tile = area.tiles[int(rng.integers(len(area.tiles)))]
        row, col = (int(start) for start in rng.integers(0, area.size - self.side + 1, 2))
        return Crop(
            tile.window.row + row,
            tile.window.col + col,
            draw_flip(rng) if self._rule.flips else (),
        )
