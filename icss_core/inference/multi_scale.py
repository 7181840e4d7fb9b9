"""A network that looks at every window at several scales and takes each class's highest score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from icss_core.inference.prepare import PreparedNetwork, logits_of
from icss_core.inference.scales import check_scales
from icss_core.inference.tiling import scaled_sizes
from icss_core.networks.input_size import InputSize, input_size_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class MultiScale(nn.Module):
    """Testing at several scales with "max voting", as DeepLab-v2 does it (arXiv:1606.00915, section 4.1).

    For each scale the pixels are resized, the network's scores are resized back, and of each pixel and class
    the highest score over the scales is kept. Both ways are bilinear, without averaging where it shrinks, as
    in DeepLab. MiB's weak half tests its scribbles so, with scales 0.5, 0.75, 1, 1.25 and 1.5.

    Scores are logits, not probabilities: DeepLab's networks take the maximum in front of the softmax, and one
    scale of 1 is then the network itself, bit for bit. What comes out are logits for all purposes: their
    argmax is the vote, and windows average them as they do a network's own. Their softmax is a confidence,
    but no longer one that the network was trained to give.

    One call costs the sum of the squares of the scales times a call of the network (the five above: 5.6),
    and at its peak the memory of the largest scale.

    Differs from DeepLab: it resizes whole images, here each window is resized, so that memory stays bounded;
    a large scale sees correspondingly less around a pixel at the window's edge. Sizes are rounded to
    those that the network takes, in steps of 32; scales that come to the same size are looked at once.

    Args:
        network: maps raw pixels (B, C, h, w) to logits (B, N, h, w), or to an output with `.logits`.
        scales: 1 to 8 different numbers from 0.25 to 4, in any order.

    Raises:
        InvalidParameterError: the scales are others.
    """

    def __init__(self, network: nn.Module, scales: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.scales = check_scales(scales)

    @property
    def input_size(self) -> InputSize:
        """Heights and widths that the network takes."""
        return input_size_of(self.network)

    @property
    def enlargement(self) -> float:
        """Pixels that the largest scale makes of one, at least 1: what a call needs more memory by."""
        return max(1.0, *self.scales) ** 2

    def forward(self, pixels: Tensor) -> Tensor:
        """Highest logits over the scales.

        Args:
            pixels: (B, C, h, w) raw values of any real dtype; h and w as the network takes them if 1 is one
                of the scales.

        Returns:
            (B, N, h, w) float32.
        """
        height, width = pixels.shape[-2:]
        # one after the other into one buffer: the scores of two scales are held, however many there are
        highest: Tensor | None = None
        for size in scaled_sizes(height, width, self.scales, self.input_size):
            scores = logits_of(self.network(_resized(pixels, size))).float()
            scores = _resized(scores, (height, width))
            highest = scores if highest is None else torch.maximum(highest, scores)
        assert highest is not None  # noqa: S101 - there is at least one scale
        return highest


def at_scales(prepared: PreparedNetwork, scales: Sequence[float]) -> PreparedNetwork:
    """A prepared network at several scales; shares its weights.

    Raises:
        InvalidParameterError: see `MultiScale`.
    """
    return PreparedNetwork(MultiScale(prepared.network, scales), prepared.dtype)


def _resized(values: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, *size) float32; the tensor itself where it has that size."""
    if values.shape[-2:] == size:
        return values
    return functional.interpolate(values.float(), size, mode="bilinear", align_corners=False)
