"""The batch norms of a network."""

from __future__ import annotations

from torch import nn


def batch_norms_of(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """All of them, in module order."""
    return [one for one in network.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
