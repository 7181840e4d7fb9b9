"""From an image's address to its class map on disk."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

import numpy as np

from icss_core.inference.multi_scale import MultiScale
from icss_core.inference.prepare import PreparedNetwork
from icss_core.inference.sliding_window import predict
from icss_core.inference.tiling import DEFAULT_TILING, Tiling
from icss_core.networks.compatibility import check_image
from icss_core.networks.segmenter import Segmenter
from icss_core.raster.block_cache import limited_block_cache
from icss_core.raster.cog import CogSink
from icss_core.raster.reader import Raster, open_raster

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import nn

    from icss_core.compute.precision import Precision
    from icss_core.labels import LabelSpace

_SMALLEST_CACHE: Final = 16 * 2**20
_LARGEST_CACHE: Final = 2**30


def predict_raster(
    network: nn.Module,
    image: Raster | str | Path,
    out_path: str | Path,
    *,
    label_space: LabelSpace,
    tiling: Tiling = DEFAULT_TILING,
    scales: Sequence[float] | None = None,
    bands: Sequence[int] | None = None,
    dtype: str | None = None,
    confidence: bool = False,
    precision: Precision = "auto",
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> None:
    """Predict an image into a Cloud Optimised GeoTIFF with the image's georeference.

    While it runs, GDAL's block cache, which belongs to the whole process and is a twentieth of the machine's
    memory by default, is limited to the blocks that one row of windows touches (at most 1 GiB).

    Args:
        network: see `predict`.
        image: an open raster, which stays open and is used from another thread meanwhile, or the address of
            one; see `open_raster`.
        out_path: local file; appears when it is complete, and only then. Beside it comes a file with the
            names of the classes; what an old map has left there is removed. See `CogSink`.
        label_space: of the network's classes.
        tiling: windows, overlap and blending.
        scales: see `predict`.
        bands: 1-based numbers of the bands that the network takes, where an address is given; None: all but
            alpha.
        dtype: data type of the images the network was trained on (`ModelCard.dtype`); None: any is taken.
        confidence: whether to write the probability of the class as a second band.
        precision: see `prepare_for_inference`.
        progress: called with (windows done, windows in all).
        should_stop: asked before each network call.

    Raises:
        ImageNotFoundError, ImageUnreadableError: the image cannot be read.
        BandMismatchError, DtypeMismatchError: the network was trained on other bands, or another data type.
        InvalidParameterError: the label space has another number of classes than the network; a scale
            cannot be used; or the map would take the place of the image, or of a file that belongs to it.
        CancelledError: `should_stop` said so; no file is left.
    """
    opened = nullcontext(image) if isinstance(image, Raster) else open_raster(image, bands=bands)
    with opened as raster:
        wanted = _bands_of(network)
        check_image(raster, bands=wanted, dtype=dtype, name=raster.address, hint=raster.alpha_hint(wanted))
        with (
            limited_block_cache(_cache_bytes(raster, tiling)),
            CogSink(out_path, like=raster, label_space=label_space, confidence=confidence) as sink,
        ):
            predict(
                network, raster, sink, n_classes=len(label_space), tiling=tiling, scales=scales,
                confidence=confidence, precision=precision, progress=progress, should_stop=should_stop,
            )  # fmt: skip


def _bands_of(network: nn.Module) -> int | None:
    """Bands that the `Segmenter` inside takes; None for any other network."""
    inner = network
    while isinstance(inner, PreparedNetwork | MultiScale):
        inner = inner.network
    return inner.architecture.in_channels if isinstance(inner, Segmenter) else None


def _cache_bytes(raster: Raster, tiling: Tiling) -> int:
    """The blocks that one row of windows touches, so that none is decoded once for every window."""
    block = raster.block_shape[0]
    rows = min((-(-(tiling.window - 1) // block) + 1) * block, raster.height)
    needed = rows * raster.width * raster.bands * np.dtype(raster.dtype).itemsize
    return min(max(needed, _SMALLEST_CACHE), _LARGEST_CACHE)
