"""Windows read in the background, in groups of the size the network takes."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from icss_core.compute.prefetch import prefetched
from icss_core.raster.environment import RasterEnvironment

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from icss_core.raster.reader import RasterSource
    from icss_core.raster.windows import Window


class Group(NamedTuple):
    """Windows that follow each other, enough to fill one network call."""

    pixels: Tensor | None
    """(size, C, h, w) in the data type of the source, channels-last in memory; the windows that have data, in
    order, then zeros. None where no window has data."""
    valid: list[NDArray[np.bool_]]
    """(h, w) of each window, those without data included."""


def read_groups(
    source: RasterSource, windows: Iterator[Window], *, size: int, ahead: int
) -> Generator[Group, None, None]:
    """Read windows in a background thread, under the GDAL settings of the calling thread.

    Each window is read once; those without any valid pixel take no place in a group. The source must not be
    used elsewhere until the generator is closed or exhausted.

    Args:
        source: read from one thread at a time.
        windows: all of one size.
        size: windows with data per group.
        ahead: groups made before they are asked for, at least 1.

    Raises:
        ImageUnreadableError: a window cannot be read.
    """

    def make(_: int) -> Group | None:
        return _next_group(source, windows, size)

    groups = prefetched(make, count(), depth=ahead, context=RasterEnvironment.capture().enter)
    try:
        for group in groups:
            if group is None:
                return
            yield group
    finally:
        groups.close()


def _mirror(values: NDArray[np.generic], height: int, width: int) -> None:
    """Continue a window (h, w, C) in place where the raster ends after `height` rows or `width` columns.

    Networks are not trained with black margins, which would change the labels far into a small image.
    """
    rows, cols = max(values.shape[0] - height, 0), max(values.shape[1] - width, 0)
    if rows or cols:
        inside = values[: values.shape[0] - rows, : values.shape[1] - cols]
        values[:] = np.pad(inside, ((0, rows), (0, cols), (0, 0)), mode="symmetric")


def _next_group(source: RasterSource, windows: Iterator[Window], size: int) -> Group | None:
    values: NDArray[np.generic] | None = None
    valid: list[NDArray[np.bool_]] = []
    filled = 0
    # The second limit keeps progress and cancelling alive over long stretches without data.
    while filled < size and len(valid) < 4 * size:
        window = next(windows, None)
        if window is None:
            break
        pixels = source.read(window)
        valid.append(pixels.valid)
        if not pixels.valid.any():
            continue
        if values is None:
            values = np.zeros((size, window.height, window.width, source.bands), pixels.values.dtype)
        values[filled] = pixels.values.transpose(1, 2, 0)
        _mirror(values[filled], source.height - window.row, source.width - window.col)
        filled += 1
    if not valid:
        return None
    return Group(None if values is None else torch.from_numpy(values).permute(0, 3, 1, 2), valid)
