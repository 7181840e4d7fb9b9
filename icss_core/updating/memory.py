"""What an update takes from the memory network: logits to distil, pseudo-labels, features and prototypes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from icss_core.clicks.click_set import ClickSet
from icss_core.clicks.pseudo_labels import PseudoLabelSelector
from icss_core.labels import IGNORE
from icss_core.losses import (
    LabelledFeatures,
    Prototypes,
    class_means,
    labelled_features,
    merge_prototypes,
)
from icss_core.updating.column_samples import ColumnCollector, ColumnSamples
from icss_core.updating.head_fit import classifier_rows, concatenate
from icss_core.updating.tile_outputs import tile_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from icss_core.compute.precision import Precision
    from icss_core.methods import PseudoLabelRule
    from icss_core.networks.segmenter import Segmenter
    from icss_core.raster.source import RasterSource
    from icss_core.updating.kept_columns import KeptColumns
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
    network: Segmenter,
    source: RasterSource,
    area: WorkingArea,
    clicks: ClickSet,
    rule: PseudoLabelRule,
    *,
    keep_logits: bool,
    device: torch.device,
    precision: Precision,
    seed: int,
    progress: Callable[[int, int], None],
    should_stop: Callable[[], bool] | None,
    labelled_tiles: int | None = None,
    kept: KeptColumns | None = None,
) -> MemoryView:
    """Run the memory network over the working area once.

    Args:
        network: the memory network.
        source: the image.
        area: its tiles.
        clicks: pixels that get no pseudo-label.
        rule: which pixels become pseudo-labels.
        keep_logits: whether to keep the logits, for methods that distil.
        device: where the network computes.
        precision: number type of the computation.
        seed: decides the draw among confident pixels.
        progress: called with (tiles done, tiles in all).
        should_stop: see `tile_outputs`.
        labelled_tiles: how many of the tiles, from the first, get pseudo-labels; None: all.
        kept: where the network's columns are kept; None: nowhere.
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
    outputs = tile_outputs(
        network,
        source,
        area,
        with_levels=kept is not None,
        device=device,
        precision=precision,
        should_stop=should_stop,
        kept=kept,
    )
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
    most = max(counts.values())
    lacking = {label: most - rule.fills_up * counts.get(label, 0) for label in range(1, n_old)}
    return {label: round(rule.multiple * number) for label, number in lacking.items()}


class LabelledRows(NamedTuple):
    """What a network says at the labelled pixels."""

    classifier: LabelledFeatures
    """Inputs of the classifier."""
    prototypes: Prototypes
    """Mean of the deepest features of each class."""
    columns: ColumnSamples | None
    """Features of all levels; only where they were asked for."""


def labelled_rows(
    network: Segmenter,
    source: RasterSource,
    area: WorkingArea,
    labels: ClickSet,
    n_classes: int,
    *,
    columns_of: ClickSet | None = None,
    device: torch.device,
    precision: Precision,
    should_stop: Callable[[], bool] | None,
    kept: KeptColumns | None = None,
) -> LabelledRows:
    """Features of a network at all labelled pixels.

    Args and errors are those of `tile_outputs`; `labels` are clicks and pseudo-labels of `n_classes` classes;
    `columns_of` are the clicks alone, where the features of all levels are wanted.
    """
    rows: list[LabelledFeatures] = []
    collector = None if columns_of is None else ColumnCollector()
    means: Prototypes | None = None
    outputs = tile_outputs(
        network,
        source,
        area,
        with_levels=columns_of is not None,
        device=device,
        precision=precision,
        should_stop=should_stop,
        kept=kept,
    )
    for _, tile, _, output in outputs:
        own = np.full((area.size, area.size), IGNORE, np.uint8)
        own[tile.own_rows, tile.own_cols] = labels.label_map(tile.cell)
        targets = torch.from_numpy(own.astype(np.int64))[None].to(device)
        # inference tensors cannot enter autograd later; copies can
        rows.append(classifier_rows(network.classifier, output.decoder_features.clone(), targets))
        if collector is not None and columns_of is not None:
            clicked = np.full((area.size, area.size), IGNORE, np.uint8)
            clicked[tile.own_rows, tile.own_cols] = columns_of.label_map(tile.cell)
            collector.add(
                output.columns, output.logits, targets, torch.from_numpy(clicked != IGNORE)[None].to(device)
            )
        of_tile = class_means(
            labelled_features(output.features.clone(), targets, assignment="pooled"), n_classes=n_classes
        )
        means = of_tile if means is None else merge_prototypes(means, of_tile)
    assert means is not None  # noqa: S101 - a working area has at least one tile
    return LabelledRows(concatenate(rows), means, None if collector is None else collector.samples())


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
