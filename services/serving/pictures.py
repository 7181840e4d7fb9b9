"""Pictures of an update for its record: the image with its clicks, and the map before and after."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw

from icss_core.inference import ArraySink, predict
from icss_core.labels import IGNORE
from icss_core.raster.source import ArraySource
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from icss_core.clicks.click_set import ClickSet
    from icss_core.labels import LabelSpace
    from icss_core.raster.source import Pixels, RasterSource

SIDE: Final = 512  # pixels: a view, not the map; the map comes from a prediction
_OPACITY: Final = 0.5


def before_and_after(
    memory: nn.Module, updated: nn.Module, source: RasterSource, clicks: ClickSet, label_space: LabelSpace
) -> dict[str, bytes]:
    """PNG files by name: `clicks`, `before`, `after`, of one square around the clicks.

    Args:
        memory: network of the first classes of `label_space`.
        updated: network of all of them.
        source: the image.
        clicks: their labels index `label_space`.
        label_space: gives the colours.
    """
    view = view_around(clicks, source.height, source.width)
    pixels = source.read(view)
    picture = as_rgb(pixels)
    known = len(label_space) - 1
    return {
        "clicks": _png(_with_clicks(picture, clicks, view, label_space)),
        "before": _png(_overlay(picture, _classes(memory, pixels, known), label_space)),
        "after": _png(_overlay(picture, _classes(updated, pixels, known + 1), label_space)),
    }


def view_around(clicks: ClickSet, height: int, width: int, side: int = SIDE) -> Window:
    """The square of `side` pixels around the middle of the clicks, moved and cut to lie on the raster."""
    view_height, view_width = min(side, height), min(side, width)
    row = int(np.median(clicks.rows)) - view_height // 2
    col = int(np.median(clicks.cols)) - view_width // 2
    return Window(
        min(max(row, 0), height - view_height), min(max(col, 0), width - view_width), view_height, view_width
    )


def as_rgb(pixels: Pixels) -> NDArray[np.uint8]:
    """Pixels as people can look at them: (h, w, 3) uint8.

    The first three bands (or the first one as grey), each stretched from its 2nd to its 98th percentile over
    the valid pixels; what is not valid is black.
    """
    values = np.asarray(pixels.values, np.float32)
    bands = values[:3] if len(values) >= 3 else np.repeat(values[:1], 3, axis=0)
    picture = np.zeros((*pixels.valid.shape, 3), np.uint8)
    if not pixels.valid.any():
        return picture
    for index, band in enumerate(bands):
        low, high = np.percentile(band[pixels.valid], (2, 98))
        stretched = np.clip((band - low) / max(float(high - low), 1e-6), 0, 1)
        picture[..., index] = np.where(pixels.valid, np.rint(stretched * 255), 0)
    return picture


def _classes(network: nn.Module, pixels: Pixels, n_classes: int) -> NDArray[np.uint8]:
    source = ArraySource(pixels.values, pixels.valid)
    sink = ArraySink(source.height, source.width)
    predict(network, source, sink, n_classes=n_classes)
    return sink.labels


def _overlay(
    picture: NDArray[np.uint8], classes: NDArray[np.uint8], label_space: LabelSpace
) -> NDArray[np.uint8]:
    """The picture tinted with the colours of classes of interest; background and no data stay as they are."""
    table = np.zeros((256, 3), np.float32)
    table[: len(label_space)] = label_space.colours
    tinted = (1 - _OPACITY) * picture + _OPACITY * table[classes]
    shown = (classes != 0) & (classes != IGNORE)
    return np.where(shown[..., None], np.rint(tinted), picture).astype(np.uint8)


def _with_clicks(
    picture: NDArray[np.uint8], clicks: ClickSet, view: Window, label_space: LabelSpace
) -> NDArray[np.uint8]:
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    inside = clicks.within(view)
    for row, col, label in zip(inside.rows - view.row, inside.cols - view.col, inside.labels, strict=True):
        box = (int(col) - 3, int(row) - 3, int(col) + 3, int(row) + 3)
        draw.ellipse(box, fill=label_space.colours[int(label)], outline=(255, 255, 255))
    return np.asarray(image)


def _png(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
