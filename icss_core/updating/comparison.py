"""The forgetting report of an update: memory and updated network side by side on the working area."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icss_core.labels import IGNORE
from icss_core.metrics.forgetting import ForgettingAccumulator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from icss_core.clicks.click_set import ClickSet
    from icss_core.labels import LabelSpace
    from icss_core.metrics.forgetting import ForgettingReport
    from icss_core.networks.segmenter import Segmenter
    from icss_core.updating.tile_runner import TileRunner
    from icss_core.updating.tiles import WorkingArea


def compare_on_tiles(
    runner: TileRunner,
    updated: Segmenter,
    area: WorkingArea,
    clicks: ClickSet,
    memory_labels: Sequence[NDArray[np.uint8]],
    *,
    label_space: LabelSpace,
    n_old: int,
    progress: Callable[[int, int], None],
) -> ForgettingReport:
    """Run the updated network over the working area and compare it with what the memory network said there.

    Args:
        runner: of the image.
        updated: the updated network.
        area: tiles of the image.
        clicks: the annotator's, not pseudo-labels.
        memory_labels: per tile the memory network's class map (size, size) uint8, 255 = no data.
        label_space: of the updated network.
        n_old: classes of the memory network.
        progress: told tiles done and tiles in all.

    Raises:
        CancelledError: the runner was stopped.
    """
    accumulator = ForgettingAccumulator(label_space, n_old, sampled=not area.whole)
    for position, tile, pixels, output in runner.outputs(updated, area):
        labels = output.logits[0].max(0).indices.to("cpu").numpy().astype(np.uint8)
        labels[~pixels.valid] = IGNORE
        own = (tile.own_rows, tile.own_cols)
        accumulator.update(memory_labels[position][own], labels[own], clicks.label_map(tile.cell))
        progress(position + 1, len(area.tiles))
    return accumulator.report()
