"""Sliding-window inference over rasters of any size: windows in, rows of a class map out.

Memory does not grow with the raster's height, and with its width only by the rows in which windows overlap.
The result depends on the network, the raster and the tiling alone, not on how far reading runs ahead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from icss_core.errors import CancelledError, InvalidParameterError
from icss_core.inference.multi_scale import MultiScale, at_scales
from icss_core.inference.prepare import logits_of, prepare_for_inference
from icss_core.inference.read_ahead import Group, read_groups
from icss_core.inference.sinks import ArraySink, RowSink
from icss_core.inference.strip import StripAccumulator
from icss_core.inference.tiling import DEFAULT_TILING, PAPER_TILING, Layout, RowRange, Tiling
from icss_core.labels import check_number_of_classes
from icss_core.networks.checked_source import checked_for
from icss_core.networks.input_size import input_size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

    from icss_core.compute.precision import Precision
    from icss_core.raster.reader import RasterSource

__all__ = ["DEFAULT_TILING", "PAPER_TILING", "ArraySink", "RowSink", "Tiling", "predict"]

PIXELS_PER_CALL: Final = {"cpu": 2**19, "cuda": 2**21}
"""Pixels of the windows that go through the network together: enough to keep the device busy. Half as many in
float32, whose activations are twice as large."""


def predict(
    network: nn.Module,
    source: RasterSource,
    sink: RowSink,
    *,
    n_classes: int,
    tiling: Tiling = DEFAULT_TILING,
    scales: Sequence[float] | None = None,
    part: RowRange | None = None,
    confidence: bool = False,
    precision: Precision = "auto",
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> None:
    """Predict the class map of a raster, row by row.

    Pixels without data get 255 and are zeros to the network; windows without any data are not predicted.
    Where a raster is smaller than a window it is mirrored to the window's size.
    Convolution libraries choose their algorithm by the number of images in a call, and with it the last bits
    of the result; so every call has the same number of windows, and the last is filled up with zeros.

    Args:
        network: maps raw pixels (B, C, h, w) to logits (B, n_classes, h, w), or to an output with `.logits`.
            A result of `prepare_for_inference` is used as it is; anything else is prepared first.
        source: read window by window from another thread, while this call lasts.
        sink: takes the rows; see `RowSink`.
        n_classes: number of logit channels.
        tiling: windows, overlap and blending.
        scales: at which each window is predicted, the highest score of a class being kept; see `MultiScale`.
            It takes the sum of their squares times as long. None: as it is.
        part: rows to predict, as `Layout.parts` gives them; the sink gets only these, the same as of the
            whole raster. None: all.
        confidence: whether the sink also gets the probability of each label.
        precision: of the preparation.
        progress: called with (windows done, windows in all) after each network call.
        should_stop: asked before each network call.

    Raises:
        CancelledError: `should_stop` said so; the sink has some of the rows.
        ImageUnreadableError: a window cannot be read.
        FillValueError: pixels have a value that marks missing data, which the source does not say.
        InvalidParameterError: the network takes no windows of this size, it gives another shape than
            (B, n_classes, h, w), a scale cannot be used, or the part is none.
        TooManyClassesError: more classes than a map can have.
    """
    check_number_of_classes(n_classes)
    layout = tiling.layout(source.height, source.width, input_size_of(network))
    prepared = prepare_for_inference(network, precision)
    if scales is not None:
        prepared = at_scales(prepared, scales)
    device = next((weight.device for weight in prepared.parameters()), torch.device("cpu"))
    inner = prepared.network
    enlargement = inner.enlargement if isinstance(inner, MultiScale) else 1.0
    size = windows_per_call(layout, device, prepared.dtype, enlargement=enlargement)
    first = 0
    if part is not None:
        layout, first = layout.only(part), part.first
    accumulator = StripAccumulator(
        layout, n_classes, blend=tiling.blend, confidence=confidence, device=device
    )
    groups = read_groups(
        checked_for(network, source), iter(layout), size=size, ahead=max(1, tiling.batch // size)
    )
    done = 0
    try:
        for group in groups:
            if should_stop is not None and should_stop():
                raise CancelledError(f"prediction stopped on request after {done} of {len(layout)} windows")
            with torch.inference_mode():
                for logits, valid in zip(_logits(prepared, group, n_classes), group.valid, strict=True):
                    rows = accumulator.add(logits, valid)
                    if rows is not None and rows.row + len(rows.labels) > first:
                        sink.write(*rows.below(first))
            done += len(group.valid)
            if progress is not None:
                progress(done, len(layout))
    finally:
        groups.close()


def windows_per_call(
    layout: Layout, device: torch.device, dtype: torch.dtype, *, enlargement: float = 1.0
) -> int:
    """How many windows go through the network together: the same for all calls on one raster.

    Args:
        layout: the windows.
        device: the network's.
        dtype: of its weights.
        enlargement: pixels that the network makes of one before its first layer.
    """
    pixels = PIXELS_PER_CALL.get(device.type, PIXELS_PER_CALL["cpu"])
    if dtype == torch.float32:
        pixels //= 2
    window = layout.window_height * layout.window_width * enlargement
    return min(len(layout), max(1, int(pixels / window)))


def _logits(network: nn.Module, group: Group, n_classes: int) -> Iterator[Tensor | None]:
    """Logits (n_classes, h, w) of each window of a group; None for those without data."""
    if group.pixels is None:
        yield from (None for _ in group.valid)
        return
    device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
    logits = logits_of(network(group.pixels.to(device)))
    batch, _, height, width = group.pixels.shape
    if logits.shape != (batch, n_classes, height, width):
        raise InvalidParameterError(
            f"the network gives {tuple(logits.shape)} for {batch} windows of {height} x {width}, "
            f"not ({batch}, {n_classes}, {height}, {width})"
        )
    predicted = iter(logits.float())
    for valid in group.valid:
        yield next(predicted) if valid.any() else None
