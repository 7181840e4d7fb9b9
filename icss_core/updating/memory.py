"""What the memory network gives an update: logits to distil, pseudo-labels, features and prototypes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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
from icss_core.updating.head_fit import classifier_rows, concatenate
from icss_core.updating.recall import recall

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from icss_core.compute.precision import Precision
    from icss_core.methods import PseudoLabelRule
    from icss_core.networks.segmenter import Segmenter
    from icss_core.raster.source import RasterSource
    from icss_core.updating.tiles import WorkingArea


@dataclass(slots=True)
class Memory:
    """The memory network's view of the working area."""

    logits: list[Tensor] = field(default_factory=list)
    """Per tile (O, size, size) bfloat16 on the CPU; empty unless a regulariser needs them."""
    labels: list[NDArray[np.uint8]] = field(default_factory=list)
    """Per tile its class map (size, size), 255 where there is no data."""
    pseudo_labels: ClickSet = field(default_factory=ClickSet.empty)


def remember(
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
) -> Memory:
    """Run the memory network over the working area once.

    Args:
        network: the memory network.
        source: the image.
        area: its tiles.
        clicks: never pseudo-labelled over.
        rule: which pixels become pseudo-labels.
        keep_logits: whether the method distils.
        device: where the network computes.
        precision: in which type.
        seed: of the draw among confident pixels.
        progress: told tiles done and tiles in all.
        should_stop: see `recall`.
    """
    memory = Memory()
    amount = max(clicks.counts().values())
    selector = PseudoLabelSelector(
        classes=range(1, network.n_classes),
        per_class=round(rule.multiple * amount) if rule.kind != "none" else 0,
        kind="threshold" if rule.kind == "threshold" else "top_n",
        # the selector's own default for `threshold` is not ours to take: 0 means any confidence
        threshold=rule.threshold if rule.kind == "threshold" or rule.threshold else None,
        clicks=_stacked(clicks, area),
        seed=seed,
    )
    outputs = recall(network, source, area, device=device, precision=precision, should_stop=should_stop)
    for position, tile, pixels, output in outputs:
        confidence, indices = output.logits[0].softmax(0).max(0)
        labels = indices.to("cpu").numpy().astype(np.uint8)
        labels[~pixels.valid] = IGNORE
        memory.labels.append(labels)
        if keep_logits:
            memory.logits.append(output.logits[0].to("cpu", torch.bfloat16))
        own = np.full_like(labels, IGNORE)
        own[tile.own_rows, tile.own_cols] = labels[tile.own_rows, tile.own_cols]
        selector.write(position * area.size, own, confidence.cpu().numpy())
        progress(position + 1, len(area.tiles))
    memory.pseudo_labels = _unstacked(selector.clicks(), area)
    return memory


def labelled_rows(
    network: Segmenter,
    source: RasterSource,
    area: WorkingArea,
    labels: ClickSet,
    n_classes: int,
    *,
    device: torch.device,
    precision: Precision,
    should_stop: Callable[[], bool] | None,
) -> tuple[LabelledFeatures, Prototypes]:
    """Classifier inputs at all labelled pixels, and class means of the deepest features."""
    rows: list[LabelledFeatures] = []
    means: Prototypes | None = None
    outputs = recall(network, source, area, device=device, precision=precision, should_stop=should_stop)
    for _, tile, _, output in outputs:
        own = np.full((area.size, area.size), IGNORE, np.uint8)
        own[tile.own_rows, tile.own_cols] = labels.label_map(tile.cell)
        targets = torch.from_numpy(own.astype(np.int64))[None].to(device)
        # inference tensors cannot enter autograd later; copies can
        rows.append(classifier_rows(network.classifier, output.decoder_features.clone(), targets))
        found = class_means(
            labelled_features(output.features.clone(), targets, assignment="pooled"), n_classes=n_classes
        )
        means = found if means is None else merge_prototypes(means, found)
    assert means is not None  # noqa: S101 - a working area has at least one tile
    return concatenate(rows), means


def _stacked(clicks: ClickSet, area: WorkingArea) -> ClickSet:
    """Clicks in coordinates of the tiles stacked on top of each other, as the selector sees them."""
    owner = area.holding(clicks.rows, clicks.cols)
    inside = owner >= 0
    origins = _origins(area)[owner[inside]]
    rows = clicks.rows[inside] - origins[:, 0] + owner[inside] * area.size
    return ClickSet(rows, clicks.cols[inside] - origins[:, 1], clicks.labels[inside])


def _unstacked(clicks: ClickSet, area: WorkingArea) -> ClickSet:
    """The way back: coordinates of the raster."""
    owner = clicks.rows // area.size
    origins = _origins(area)[owner]
    return ClickSet(
        clicks.rows - owner * area.size + origins[:, 0], clicks.cols + origins[:, 1], clicks.labels
    )


def _origins(area: WorkingArea) -> NDArray[np.int64]:
    """(tiles, 2) row and column of each tile's window."""
    return np.array([(tile.window.row, tile.window.col) for tile in area.tiles], dtype=np.int64)
