"""What one iteration of a training sees: crops stacked into tensors."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray


class Crop(NamedTuple):
    """Where a crop of a batch was cut from an image; equal crops of one image hold equal pixels."""

    row: int
    col: int
    flip: tuple[int, ...] = ()
    """Spatial axes that were mirrored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one iteration sees."""

    pixels: Tensor
    """(B, C, h, w), raw values in the image's own dtype."""
    labels: Tensor
    """(B, h, w) int64, label-space indices, 255 = unlabelled."""
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    """Further tensors by name, first axis B: maps of the pixels, facts about the image. A method states which
    it needs (`icss_core.methods.need`), and the sampler that makes the batch adds them."""
    crops: tuple[Crop, ...] = ()
    """Where the crops lie in the image, from samplers that cut from one image only."""
    iteration: int = 0
    """The iteration that sees the batch, counted from 0."""

    def __len__(self) -> int:
        return len(self.pixels)

    def named(self, name: str) -> Tensor:
        """One of the extras.

        Raises:
            AssertionError: the batch has no extra of this name, which is a fault of the code that made the
                batch.
        """
        if name not in self.extras:
            raise AssertionError(f"the batch has no {name}, only {sorted(self.extras)}")
        return self.extras[name]

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; page-locked tensors are copied without waiting."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> Batch:
        """The batch in page-locked memory, from which a GPU copies in the background."""
        return self._each(Tensor.pin_memory)

    def parts(self, number: int) -> list[Batch]:
        """The batch cut into at most `number` parts of nearly equal size; the batch itself if that is one."""
        if min(number, len(self)) == 1:
            return [self]
        edges = [len(self) * part // number for part in range(number + 1)]
        return [
            replace(self._each(operator.itemgetter(slice(*ends))), crops=self.crops[slice(*ends)])
            for ends in pairwise(edges)
            if ends[0] < ends[1]
        ]

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            pixels=change(self.pixels),
            labels=change(self.labels),
            extras={name: change(one) for name, one in self.extras.items()},
        )


def collate(pixels: Sequence[NDArray[np.generic]], labels: Sequence[NDArray[np.uint8]]) -> Batch:
    """One batch of crops of the same size."""
    return Batch(
        pixels=torch.from_numpy(np.stack(pixels)), labels=torch.from_numpy(np.stack(labels).astype(np.int64))
    )
