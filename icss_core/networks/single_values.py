"""Norms that get a single value per channel, which has no variance to divide by.

Decoders that pool an image to one pixel (DeepLab, PAN, UPerNet), encoders that do so to weigh channels, and
the deepest level of a crop of 32 pixels have one value per channel and image. With a batch of one, or a last
part of one, there is nothing that statistics of the batch could be taken from, and PyTorch refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from icss_core.errors import InvalidParameterError

if TYPE_CHECKING:
    from torch import Tensor

_BatchNorm = nn.modules.batchnorm._BatchNorm  # noqa: SLF001 - torch's only common base
_InstanceNorm = nn.modules.instancenorm._InstanceNorm  # noqa: SLF001
_WAITING = "_waits_for_statistics"


def allow_single_values(network: nn.Module) -> None:
    """Let batch norms in training use their running statistics where the batch has one value per channel.

    So such a layer computes in that pass what it computes in evaluation; scale and shift learn, the running
    statistics stay. All other passes are as before. Instance norms and group norms keep no statistics: where
    they would normalise single values, which gives their shift whatever the image shows, they refuse.

    Args:
        network: its norms are changed in place, and copies of it keep the change.
    """
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.register_forward_pre_hook(_use_running_statistics)
            module.register_forward_hook(_use_batch_statistics, always_call=True)
        elif isinstance(module, _InstanceNorm | nn.GroupNorm):
            module.register_forward_pre_hook(_refuse_single_values)


def _use_running_statistics(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if not norm.training or inputs[0].numel() > inputs[0].shape[1]:
        return
    if getattr(norm, "running_mean", None) is None:
        _refuse(norm, inputs[0])
    norm.training = False
    norm.__dict__[_WAITING] = True


def _use_batch_statistics(norm: nn.Module, _: tuple[Tensor, ...], __: Tensor | None) -> None:
    if norm.__dict__.pop(_WAITING, False):
        norm.training = True


def _refuse_single_values(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    images, channels = inputs[0].shape[:2]
    groups = norm.num_groups if isinstance(norm, nn.GroupNorm) else channels
    own_statistics = (
        isinstance(norm, nn.GroupNorm) or norm.training or getattr(norm, "running_mean", None) is None
    )
    if own_statistics and inputs[0].numel() == images * groups:
        _refuse(norm, inputs[0])


def _refuse(norm: nn.Module, values: Tensor) -> None:
    raise InvalidParameterError(
        f"a {type(norm).__name__} of this network gets one value per channel of each image, in a batch of "
        f"{len(values)}, and single values cannot be normalised; use larger crops or windows, or a network "
        "with batch norms"
    )
