"""The forgetting report of an update: memory and updated network side by side on the working area."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icss_core.labels import IGNORE
from icss_core.metrics.forgetting import ForgettingAccumulator
from icss_core.updating.tile_outputs import tile_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import NDArray

    from icss_core.clicks.click_set import ClickSet
    from icss_core.compute.precision import Precision
    from icss_core.labels import LabelSpace
    from icss_core.metrics.forgetting import ForgettingReport
    from icss_core.networks.segmenter import Segmenter
    from icss_core.raster.source import RasterSource
    from icss_core.updating.kept_columns import KeptColumns
    from icss_core.updating.tiles import WorkingArea


def compare_on_tiles(
    updated: Segmenter,
    source: RasterSource,
    area: WorkingArea,
    clicks: ClickSet,
    memory_labels: Sequence[NDArray[np.uint8]],
    *,
    label_space: LabelSpace,
    n_old: int,
    device: torch.device,
    precision: Precision,
    progress: Callable[[int, int], None],
    should_stop: Callable[[], bool] | None,
    kept: KeptColumns | None = None,
) -> ForgettingReport:
    """Run the updated network over the working area and compare it with what the memory network said there.

    Args:
        updated: the updated network.
        source: the image.
        area: its tiles.
        clicks: the annotator's, not pseudo-labels.
        memory_labels: per tile the memory network's class map (size, size) uint8, 255 = no data.
        label_space: of the updated network.
        n_old: classes of the memory network.
        device: where to compute.
        precision: in which type.
        progress: told tiles done and tiles in all.
        should_stop: see `tile_outputs`.
        kept: see `tile_outputs`.
    """
    accumulator = ForgettingAccumulator(label_space, n_old, sampled=not area.whole)
    outputs = tile_outputs(
        updated, source, area, device=device, precision=precision, should_stop=should_stop, kept=kept
    )
    for position, tile, pixels, output in outputs:
        labels = output.logits[0].max(0).indices.to("cpu").numpy().astype(np.uint8)
        labels[~pixels.valid] = IGNORE
        own = (tile.own_rows, tile.own_cols)
        accumulator.update(memory_labels[position][own], labels[own], clicks.label_map(tile.cell))
        progress(position + 1, len(area.tiles))
    return accumulator.report()
