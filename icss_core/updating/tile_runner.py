"""How the networks of an update are run on its tiles."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

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


class TileOutput(NamedTuple):
    """What a network says of a tile."""

    position: int
    """Number of the tile in its area, from 0."""
    tile: Tile
    pixels: Pixels
    output: SegmenterOutput
    """A batch of 1, without gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRunner:
    """Runs networks on tiles of one source, one tile at a time; the next is read while one is computed."""

    source: RasterSource
    """The image, or the images of an update."""
    device: torch.device
    """Where to compute."""
    precision: Precision = "auto"
    """In which type."""
    should_stop: Callable[[], bool] | None = None
    """Asked before each tile."""
    kept: KeptColumns | None = None
    """Columns of networks with the same encoder and decoder: those of a tile that are there are used, those
    that are not are kept where levels are computed."""

    def outputs(
        self, network: Segmenter, area: WorkingArea, *, with_levels: bool = False
    ) -> Iterator[TileOutput]:
        """What a network says of each tile of an area, in their order.

        With levels, the outputs have columns, and those that are computed have the encoder's levels. The
        network is left in eval mode. Nothing is kept between tiles but what `kept` keeps.

        Raises:
            CancelledError: `should_stop` said so.
        """
        network.eval()
        dtype = resolve_precision(self.precision, self.device)

        def read(position: int) -> Pixels:
            return self.source.read(area.tiles[position].window)

        context = RasterEnvironment.capture().enter
        with closing(prefetched(read, range(len(area.tiles)), context=context)) as windows:
            for position, pixels in enumerate(windows):
                if self.should_stop is not None and self.should_stop():
                    raise CancelledError(f"stopped on request at tile {position} of {len(area.tiles)}")
                tile = area.tiles[position]
                with (
                    torch.inference_mode(),
                    torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32),
                ):
                    output = self._output(network, tile, pixels, with_levels=with_levels)
                yield TileOutput(position, tile, pixels, output)

    def _output(
        self, network: Segmenter, tile: Tile, pixels: Pixels, *, with_levels: bool
    ) -> SegmenterOutput:
        columns = None if self.kept is None else self.kept.of(tile)
        if columns is not None:
            output = network.from_columns(columns, *pixels.values.shape[1:])
            return output._replace(columns=columns)
        batch = torch.from_numpy(pixels.values)[None].to(self.device, memory_format=torch.channels_last)
        computed: SegmenterOutput = network(batch, with_levels=with_levels)
        if self.kept is not None and with_levels:
            self.kept.keep(tile, computed.columns)
        return computed
