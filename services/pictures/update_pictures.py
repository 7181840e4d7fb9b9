"""Pictures of an update for its record: the image with its clicks, the map before and after, what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from icss_core.clicks.click_set import ClickSet
from icss_core.inference import ArraySink, predict
from icss_core.raster.source import ArraySource
from icss_core.raster.windows import Window
from services.pictures import clicks_picture, difference_picture, map_picture, to_rgb

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from icss_core.labels import LabelSpace
    from icss_core.raster.source import Pixels, RasterSource

SIDE: Final = 512  # pixels: a view, not the map; the map comes from a prediction


def update_pictures(
    memory: nn.Module, updated: nn.Module, source: RasterSource, clicks: ClickSet, label_space: LabelSpace
) -> dict[str, bytes]:
    """PNG files by name, `clicks`, `before`, `after` and `difference`, of one square around the clicks.

    Args:
        memory: network of all but the last of the classes.
        updated: network of all of them.
        source: the image.
        clicks: their labels index `label_space`.
        label_space: names and colours.
    """
    view = view_around(clicks, source.height, source.width)
    pixels = source.read(view)
    picture = to_rgb(pixels.values, pixels.valid)
    inside = clicks.within(view)
    shown = ClickSet(inside.rows - view.row, inside.cols - view.col, inside.labels)
    n_old = len(label_space) - 1
    before, after = _classes(memory, pixels, n_old), _classes(updated, pixels, n_old + 1)
    return {
        "clicks": clicks_picture(picture, shown, label_space),
        "before": map_picture(picture, before, label_space, title="before"),
        "after": map_picture(picture, after, label_space, title="after"),
        "difference": difference_picture(picture, before, after, n_old=n_old),
    }


def view_around(clicks: ClickSet, height: int, width: int, side: int = SIDE) -> Window:
    """The square of `side` pixels around the middle of the clicks, moved and cut to lie on the raster."""
    view_height, view_width = min(side, height), min(side, width)
    row = int(np.median(clicks.rows)) - view_height // 2
    col = int(np.median(clicks.cols)) - view_width // 2
    return Window(
        min(max(row, 0), height - view_height), min(max(col, 0), width - view_width), view_height, view_width
    )


def _classes(network: nn.Module, pixels: Pixels, n_classes: int) -> NDArray[np.uint8]:
    """The map of a view: (h, w) uint8, 255 where it has no data."""
    source = ArraySource(pixels.values, pixels.valid)
    sink = ArraySink(source.height, source.width)
    predict(network, source, sink, n_classes=n_classes)
    return sink.labels
