"""What the memory network says of the working area: its map, logits to distil, pseudo-labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from icss_core.clicks.click_set import ClickSet
from icss_core.clicks.pseudo_labels import PseudoLabelSelector
from icss_core.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from icss_core.methods import PseudoLabelRule
    from icss_core.networks.segmenter import Segmenter
    from icss_core.updating.tile_runner import TileRunner
    from icss_core.updating.tiles import WorkingArea


@dataclass(slots=True)
class MemoryView:
    """Outputs of the memory network on the working area, tile by tile."""

    logits: list[Tensor] = field(default_factory=list)
    """One (O, size, size) bfloat16 tensor on the CPU for each tile; empty unless a regulariser needs
    logits."""
    labels: list[NDArray[np.uint8]] = field(default_factory=list)
    """One class map (size, size) for each tile, 255 where there is no data."""
    pseudo_labels: ClickSet = field(default_factory=ClickSet.empty)


def view_of_memory(
    runner: TileRunner,
    network: Segmenter,
    area: WorkingArea,
    clicks: ClickSet,
    rule: PseudoLabelRule,
    *,
    keep_logits: bool,
    seed: int,
    progress: Callable[[int, int], None],
    labelled_tiles: int | None = None,
) -> MemoryView:
    """Run the memory network over the working area once.

    Args:
        runner: of the image; the network's columns are kept where it keeps any.
        network: the memory network.
        area: its tiles.
        clicks: pixels that get no pseudo-label.
        rule: which pixels become pseudo-labels.
        keep_logits: whether to keep the logits, for methods that distil.
        seed: decides the draw among confident pixels.
        progress: called with (tiles done, tiles in all).
        labelled_tiles: how many of the tiles, from the first, get pseudo-labels; None: all.

    Raises:
        CancelledError: the runner was stopped.
    """
    view = MemoryView()
    selector = PseudoLabelSelector(
        limits=_limits(rule, clicks.counts(), network.n_classes),
        kind="top_n" if rule.kind == "none" else rule.kind,
        # None would mean 0.99 to the selector; here 0 means any confidence
        threshold=rule.threshold if rule.kind == "threshold" or rule.threshold else None,
        clicks=_stacked(clicks, area),
        seed=seed,
    )
    outputs = runner.outputs(network, area, with_levels=runner.kept is not None)
    for position, tile, pixels, output in outputs:
        confidence, indices = output.logits[0].softmax(0).max(0)
        labels = indices.to("cpu").numpy().astype(np.uint8)
        labels[~pixels.valid] = IGNORE
        view.labels.append(labels)
        if keep_logits:
            view.logits.append(output.logits[0].to("cpu", torch.bfloat16))
        if labelled_tiles is None or position < labelled_tiles:
            own = np.full_like(labels, IGNORE)
            own[tile.own_rows, tile.own_cols] = labels[tile.own_rows, tile.own_cols]
            selector.write(position * area.size, own, confidence.cpu().numpy())
        progress(position + 1, len(area.tiles))
    view.pseudo_labels = _unstacked(selector.clicks(), area)
    return view


def _limits(rule: PseudoLabelRule, counts: Mapping[int, int], n_old: int) -> dict[int, int]:
    """How many pseudo-labels each old class of interest may have."""
    if rule.kind == "none":
        return {}
    most = max(counts.values(), default=0)
    lacking = {label: most - rule.fills_up * counts.get(label, 0) for label in range(1, n_old)}
    return {label: round(rule.multiple * number) for label, number in lacking.items()}


def _stacked(clicks: ClickSet, area: WorkingArea) -> ClickSet:
    """Clicks in coordinates of the tiles stacked on top of each other, as the selector sees them."""
    owner = area.holding(clicks.rows, clicks.cols)
    inside = owner >= 0
    origins = _origins(area)[owner[inside]]
    rows = clicks.rows[inside] - origins[:, 0] + owner[inside] * area.size
    return ClickSet(rows, clicks.cols[inside] - origins[:, 1], clicks.labels[inside])


def _unstacked(clicks: ClickSet, area: WorkingArea) -> ClickSet:
    """The inverse of `_stacked`: coordinates in the raster."""
    owner = clicks.rows // area.size
    origins = _origins(area)[owner]
    return ClickSet(
        clicks.rows - owner * area.size + origins[:, 0], clicks.cols + origins[:, 1], clicks.labels
    )


def _origins(area: WorkingArea) -> NDArray[np.int64]:
    """(tiles, 2) row and column of each tile's window."""
    return np.array([(tile.window.row, tile.window.col) for tile in area.tiles], dtype=np.int64)
