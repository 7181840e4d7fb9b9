"""What one iteration of a training sees: crops stacked into tensors."""

from __future__ import annotations

import operator
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray


class Crop(NamedTuple):
    """Where the pixels of a batch come from: crops that are equal hold equal pixels."""

    row: int
    col: int
    flip: tuple[int, ...] = ()
    """Spatial axes that were mirrored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one optimiser step sees."""

    pixels: Tensor
    """(B, C, h, w), raw values in the image's own dtype."""
    labels: Tensor
    """(B, h, w) int64, label-space indices, 255 = unlabelled."""
    memory_logits: Tensor | None = None
    """(B, O, h, w) float, the memory network's logits, where a regulariser needs them."""
    memory_labels: Tensor | None = None
    """(B, h, w) int64, its class map, 255 = no data, where a regulariser needs it."""
    possible: Tensor | None = None
    """(B, N) bool, the classes that each crop's image may show, where labels are few."""
    objectness: Tensor | None = None
    """(B, h, w) float32, how likely a pixel belongs to an object, in [0, 1]; NaN where that is not known,
    beyond the scene and without data."""
    crops: tuple[Crop, ...] = ()
    """Places in the image, for samplers of one image."""
    iteration: int = 0
    """The iteration that sees the batch, counted from 0."""

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; page-locked tensors are copied without waiting."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> Batch:
        """The batch in page-locked memory, from which a GPU copies in the background."""
        return self._each(Tensor.pin_memory)

    def parts(self, number: int) -> list[Batch]:
        """The batch cut into at most so many parts, as even as they can be; itself where that is one."""
        if min(number, len(self)) == 1:
            return [self]
        edges = [len(self) * part // number for part in range(number + 1)]
        return [
            replace(self._each(operator.itemgetter(slice(*ends))), crops=self.crops[slice(*ends)])
            for ends in pairwise(edges)
            if ends[0] < ends[1]
        ]

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        changed: dict[str, Any] = {
            field.name: change(value)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **changed)


def collate(pixels: Sequence[NDArray[np.generic]], labels: Sequence[NDArray[np.uint8]]) -> Batch:
    """One batch of crops of the same size."""
    return Batch(
        pixels=torch.from_numpy(np.stack(pixels)), labels=torch.from_numpy(np.stack(labels).astype(np.int64))
    )
