"""What a network makes of the labelled pixels of an update: rows to fit heads to, and prototypes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

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

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.clicks.click_set import ClickSet
    from icss_core.networks.segmenter import Segmenter
    from icss_core.updating.tile_runner import TileRunner
    from icss_core.updating.tiles import Tile, WorkingArea


class LabelledRows(NamedTuple):
    """What a network makes of labelled pixels; None is what was not asked for."""

    classifier: LabelledFeatures | None
    """Inputs of the classifier."""
    prototypes: Prototypes | None
    """Mean of the deepest features of each class."""
    columns: ColumnSamples | None
    """Features of all levels."""


def labelled_rows(
    runner: TileRunner,
    network: Segmenter,
    area: WorkingArea,
    labels: ClickSet,
    *,
    with_classifier: bool,
    with_prototypes: bool,
    columns_of: ClickSet | None,
) -> LabelledRows:
    """Rows of a network at all labelled pixels.

    Args:
        runner: of the image.
        network: to run.
        area: tiles of the image.
        labels: clicks and pseudo-labels, of the network's classes.
        with_classifier: whether inputs of the classifier are wanted.
        with_prototypes: whether prototypes are wanted.
        columns_of: the clicks alone, where features of all levels are wanted; None: they are not.

    Raises:
        CancelledError: the runner was stopped.
    """
    rows: list[LabelledFeatures] = []
    collector = None if columns_of is None else ColumnCollector()
    means: Prototypes | None = None
    for _, tile, _, output in runner.outputs(network, area, with_levels=columns_of is not None):
        targets = _label_map(labels, tile, area.size).to(runner.device)
        if collector is not None and columns_of is not None:
            clicked = _label_map(columns_of, tile, area.size) != IGNORE
            collector.add(output.columns, output.logits, targets, clicked.to(runner.device))
        # inference tensors cannot enter autograd later; copies can
        if with_classifier:
            rows.append(classifier_rows(network.classifier, output.decoder_features.clone(), targets))
        if with_prototypes:
            deepest = labelled_features(output.features.clone(), targets, assignment="pooled")
            of_tile = class_means(deepest, n_classes=network.n_classes)
            means = of_tile if means is None else merge_prototypes(means, of_tile)
    return LabelledRows(
        concatenate(rows) if with_classifier else None,
        means,
        None if collector is None else collector.samples(),
    )


def _label_map(labels: ClickSet, tile: Tile, size: int) -> Tensor:
    """(1, size, size) int64, labels of the tile's own pixels; 255 elsewhere."""
    own = np.full((size, size), IGNORE, np.uint8)
    own[tile.own_rows, tile.own_cols] = labels.label_map(tile.cell)
    return torch.from_numpy(own.astype(np.int64))[None]
