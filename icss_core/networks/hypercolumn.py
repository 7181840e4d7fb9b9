"""A layer that sees the features of all levels at once, between the decoder and the classifier.

A decoder that was trained for some classes drops what they did not need; the levels of the encoder still have
it. A new class may need it. The column of features above a pixel, from colour and texture to objects, is its
hypercolumn (Hariharan et al., "Hypercolumns for object segmentation and fine-grained localization", CVPR
2015, arXiv 1411.5752).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

STRIDE: Final = 4
"""Pixels to one of the layer's output. Finer features are averaged: at stride 1 single pixels decide, and
maps are worse."""


class HypercolumnLayer(nn.Module):
    """Units that each see all features above a place.

    A 1 x 1 convolution over the features of all levels, resized to stride 4, and a GELU. As resizing and
    convolving commute, each level is convolved where it is small.

    Args:
        channels: of each map of features.
        units: number of outputs.
    """

    def __init__(self, channels: Sequence[int], units: int) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.projections = nn.ModuleList(nn.Conv2d(one, units, 1, bias=False) for one in channels)
        self.bias = nn.Parameter(torch.zeros(units))

    def forward(self, features: Sequence[Tensor], height: int, width: int) -> Tensor:
        """(B, units, height / 4, width / 4).

        Args:
            features: maps (B, C, h, w) of the same pixels, one for each of `channels`; their strides are
                powers of two.
            height: of the input, in pixels, a multiple of 4.
            width: likewise.
        """
        size = (height // STRIDE, width // STRIDE)
        total: Tensor | None = None
        for projection, one in zip(self.projections, features, strict=True):
            finer = one.shape[2] // size[0]
            projected = projection(functional.avg_pool2d(one, finer) if finer > 1 else one)
            if projected.shape[2:] != size:
                projected = functional.interpolate(projected, size=size, mode="bilinear", align_corners=False)
            total = projected if total is None else total + projected
        assert total is not None  # noqa: S101 - a network has features
        return functional.gelu(total + self.bias.to(total.dtype)[:, None, None])
