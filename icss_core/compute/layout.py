"""How weights lie in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn


def to_channels_last(module: nn.Module) -> None:
    """Lay convolution weights out channels-last, in place.

    As `Module.to(memory_format=torch.channels_last)`, which fails for encoders with weights of five axes.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
