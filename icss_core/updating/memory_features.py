"""The memory network's deepest features of the crops a training sees, each distinct crop computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from icss_core.compute.precision import Precision, resolve_precision

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.data.batch import Batch, Crop
    from icss_core.networks.segmenter import Segmenter


class MemoryFeatures:
    """Called with a batch, gives the features of its crops, from a cache where a crop was seen before.

    The cache pays off for sweeps, which come back to the same windows; random crops rarely repeat.

    Args:
        memory: the memory network; put into eval mode.
        device: where it computes and where the features are kept.
        precision: the training's own, so that an unchanged network has equal features.
        limit: bytes of features that are kept; later crops are computed each time.
    """

    def __init__(
        self, memory: Segmenter, *, device: torch.device, precision: Precision, limit: int = 256 * 2**20
    ) -> None:
        self._memory = memory.eval()
        self._device = device
        self._dtype = resolve_precision(precision, device)
        self._free = limit
        self._cached: dict[Crop, Tensor] = {}

    def __call__(self, batch: Batch) -> Tensor:
        """(B, C, h, w), without gradient."""
        missing = [i for i, crop in enumerate(batch.crops) if crop not in self._cached]
        computed = self._compute(batch, missing) if missing else {}
        return torch.stack([self._cached[c] if c in self._cached else computed[c] for c in batch.crops])

    def _compute(self, batch: Batch, which: list[int]) -> dict[Crop, Tensor]:
        with (
            torch.no_grad(),
            torch.autocast(self._device.type, dtype=self._dtype, enabled=self._dtype != torch.float32),
        ):
            # 16-bit pixels cannot be indexed on every device
            features = self._memory.encode(torch.stack([batch.pixels[i] for i in which]))
        computed = {batch.crops[i]: one for i, one in zip(which, features, strict=True)}
        for crop, one in computed.items():
            size = one.numel() * one.element_size()
            if size <= self._free:
                self._free -= size
                self._cached[crop] = one.clone()  # not a view that keeps the whole batch
        return computed
