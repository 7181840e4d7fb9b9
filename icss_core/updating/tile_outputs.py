"""The outputs of a network on the tiles of a working area."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import torch

from icss_core.compute.precision import Precision, resolve_precision
from icss_core.compute.prefetch import prefetched
from icss_core.errors import CancelledError
from icss_core.raster.environment import RasterEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from icss_core.networks.segmenter import Segmenter, SegmenterOutput
    from icss_core.raster.source import Pixels, RasterSource
    from icss_core.updating.kept_columns import KeptColumns
    from icss_core.updating.tiles import Tile, WorkingArea


def tile_outputs(
    network: Segmenter,
    source: RasterSource,
    area: WorkingArea,
    *,
    with_levels: bool = False,
    device: torch.device,
    precision: Precision = "auto",
    should_stop: Callable[[], bool] | None = None,
    kept: KeptColumns | None = None,
) -> Iterator[tuple[int, Tile, Pixels, SegmenterOutput]]:
    """Run a network on the tiles, one at a time; the next tile is read while one is computed.

    With levels, the outputs have columns, and those that are computed have the encoder's levels. The network
    is left in eval mode. Nothing is kept between tiles but what `kept` keeps.

    Args:
        network: to run.
        source: the image.
        area: its tiles.
        with_levels: whether the outputs have levels and columns.
        device: where to compute.
        precision: in which type.
        should_stop: asked before each tile.
        kept: columns of networks with the same encoder and decoder: those of a tile that are there are used,
            those that are not are kept where levels are computed.

    Yields:
        Position of the tile, the tile, its pixels, and the network's output for it (batch of 1, no gradient).

    Raises:
        CancelledError: `should_stop` said so.
    """
    network.eval()
    dtype = resolve_precision(precision, device)

    def read(position: int) -> Pixels:
        return source.read(area.tiles[position].window)

    context = RasterEnvironment.capture().enter
    with closing(prefetched(read, range(len(area.tiles)), context=context)) as windows:
        for position, pixels in enumerate(windows):
            if should_stop is not None and should_stop():
                raise CancelledError(f"stopped on request at tile {position} of {len(area.tiles)}")
            tile = area.tiles[position]
            columns = None if kept is None else kept.of(tile)
            with (
                torch.inference_mode(),
                torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32),
            ):
                if columns is None:
                    batch = torch.from_numpy(pixels.values)[None]
                    batch = batch.to(device, memory_format=torch.channels_last)
                    output = network(batch, with_levels=with_levels)
                    if kept is not None and with_levels:
                        kept.keep(tile, output.columns)
                else:
                    output = network.from_columns(columns, *pixels.values.shape[1:])
                    output = output._replace(columns=columns)
            yield position, tile, pixels, output
