"""The memory network's output for the current batch, computed once for all terms of the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from icss_core.compute.precision import Precision, resolve_precision

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.networks.segmenter import Segmenter, SegmenterOutput


class OnlineMemory:
    """Called with a batch, gives the memory network's output for it.

    Args:
        memory: the memory network; put into eval mode.
        device: where batches are.
        precision: the training's own.
        with_levels: whether the encoder's levels are wanted.
    """

    def __init__(
        self, memory: Segmenter, *, device: torch.device, precision: Precision, with_levels: bool = False
    ) -> None:
        self._memory = memory.to(device).eval()
        self._device = device
        self._dtype = resolve_precision(precision, device)
        self._with_levels = with_levels
        self._last: tuple[Tensor, SegmenterOutput] | None = None

    def __call__(self, batch: Batch) -> SegmenterOutput:
        """The output, without gradient; computed anew only if the pixels are not those of the last call."""
        if self._last is not None and self._last[0] is batch.pixels:
            return self._last[1]
        with (
            torch.no_grad(),
            torch.autocast(self._device.type, dtype=self._dtype, enabled=self._dtype != torch.float32),
        ):
            output: SegmenterOutput = self._memory(batch.pixels, with_levels=self._with_levels)
        self._last = (batch.pixels, output)
        return output
