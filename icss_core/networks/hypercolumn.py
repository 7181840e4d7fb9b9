"""A second head that sees the features of all levels at once, and adds its logits to the classifier's.

A decoder that was trained for some classes drops what they did not need; the levels of the encoder still have
it. A new class may need it. The column of features above a pixel, from colour and texture to objects, is its
hypercolumn (Hariharan et al., "Hypercolumns for object segmentation and fine-grained localization", CVPR
2015, arXiv 1411.5752).

What this head adds is a correction: where it says nothing, the logits are those that the network had before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.networks.head import HeadInit

STRIDE: Final = 4
"""Pixels to one of the head's places. Finer features are averaged: at stride 1 single pixels decide, and maps
are worse."""


class HypercolumnHead(nn.Module):
    """Units that each see all features above a place, and a classifier of the units.

    A 1 x 1 convolution over the features of all levels, resized to stride 4, a GELU, and a 1 x 1 convolution
    whose output is resized to the input's size. As resizing and convolving commute, each level is convolved
    where it is small. The classifier starts at zero.

    Args:
        channels: of each map of features.
        units: number of hidden units.
        n_classes: number of outputs.
    """

    def __init__(self, channels: Sequence[int], units: int, n_classes: int) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.projections = nn.ModuleList(nn.Conv2d(one, units, 1, bias=False) for one in channels)
        self.bias = nn.Parameter(torch.zeros(units))
        self.classifier = _zeros(units, n_classes)

    @property
    def units(self) -> int:
        """Number of hidden units."""
        return self.classifier.in_channels

    def forward(self, features: Sequence[Tensor], height: int, width: int) -> Tensor:
        """(B, N, height, width) logits to add to the classifier's.

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
        logits = self.classifier(functional.gelu(total + self.bias.to(total.dtype)[:, None, None]))
        return functional.interpolate(logits, scale_factor=STRIDE, mode="bilinear", align_corners=False)

    def of_columns(self, columns: Tensor) -> Tensor:
        """(m, N) logits of single hypercolumns (m, D)."""
        matrix = torch.cat([one.get_parameter("weight")[:, :, 0, 0] for one in self.projections], dim=1)
        units = functional.gelu(functional.linear(columns, matrix, self.bias))
        return functional.linear(units, self.classifier.weight[:, :, 0, 0], self.classifier.bias)

    def extended(self, n_new: int, init: HeadInit) -> HypercolumnHead:
        """A head with `n_new` more classes, for a network whose classifier grows by `init`.

        New classes get what the background gets where they start as the background, else nothing; where all
        classes start anew, so do they here.
        """
        n_old = self.classifier.out_channels
        grown = HypercolumnHead(self.channels, self.units, n_old + n_new).to(self.bias.device)
        with torch.no_grad():
            self._copy_units(grown)
            if init != "replace":
                for part, old in zip(
                    grown.classifier.parameters(), self.classifier.parameters(), strict=True
                ):
                    part[:n_old] = old
                    part[n_old:] = old[:1] if init == "background" else 0
        return grown

    def widened(self, units: int) -> HypercolumnHead:
        """A head with more units, and the same logits: those of the new ones count for nothing yet."""
        wider = HypercolumnHead(self.channels, self.units + units, self.classifier.out_channels)
        wider = wider.to(self.bias.device)
        with torch.no_grad():
            self._copy_units(wider)
            wider.classifier.weight[:, : self.units] = self.classifier.weight
            wider.classifier.get_parameter("bias").copy_(self.classifier.get_parameter("bias"))
        return wider

    def _copy_units(self, other: HypercolumnHead) -> None:
        for mine, theirs in zip(self.projections, other.projections, strict=True):
            theirs.get_parameter("weight")[: self.units] = mine.get_parameter("weight")
        other.bias[: self.units] = self.bias


def _zeros(units: int, n_classes: int) -> nn.Conv2d:
    layer = nn.Conv2d(units, n_classes, 1)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
