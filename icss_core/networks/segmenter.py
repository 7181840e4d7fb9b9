"""The segmentation network: an encoder-decoder of segmentation-models-pytorch with a head that can grow."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from icss_core.errors import BandMismatchError, InvalidParameterError
from icss_core.labels import check_number_of_classes
from icss_core.networks.architecture import UNITS_LIMIT, Architecture, Decoder, build_body
from icss_core.networks.head import HeadInit, extend_classifier
from icss_core.networks.hypercolumn import STRIDE, HypercolumnHead
from icss_core.networks.input_size import input_size_of_body
from icss_core.networks.single_values import allow_single_values

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from icss_core.networks.normalisation import Normalisation

__all__ = ["Architecture", "Decoder", "Segmenter", "SegmenterOutput"]


class SegmenterOutput(NamedTuple):
    """What one forward pass gives."""

    logits: Tensor
    """(B, N, H, W) float32, one channel per class of the label space."""
    features: Tensor
    """(B, C, h, w) deepest encoder level (ICSS: e4; stride 32 for most encoders)."""
    decoder_features: Tensor
    """(B, D, H', W') what the classifier sees; H' = H where the decoder ends at full resolution."""
    levels: tuple[Tensor, ...] = ()
    """All levels of the encoder, from the shallowest below the input; only where they were asked for."""
    columns: tuple[Tensor, ...] = ()
    """What a hypercolumn head sees, whether there is one or not: the decoder's output, then the levels; only
    where they were asked for."""


class Segmenter(nn.Module):
    """Pixels in, class logits and features out.

    The network takes raw pixel values of any real dtype and normalises them itself, by statistics that are
    part of its state: training, serving and notebooks cannot disagree about the scaling.

    The published ICSS network is a hand-written LinkNet; this is segmentation-models-pytorch's Linknet, which
    differs in its skip connection at stride 2 and in the classifier (a 1 x 1 convolution instead of a
    transposed one).

    Args:
        architecture: decoder, encoder, bands and number of classes.
        normalisation: per-band statistics; their number must equal `architecture.in_channels`.
        weights_cache: folder for converted copies of packaged weights; None: converted each time.

    Raises:
        InvalidParameterError: unknown encoder, one that this decoder does not take, one that takes images of
            a single size only, or one that the pretrained weights are not for.
        WeightsUnavailableError: pretrained weights were named and cannot be had.
        BandMismatchError: statistics for another number of bands.
    """

    mean: Tensor
    inverse_std: Tensor
    body: Any  # smp's models share no typed base

    def __init__(
        self,
        architecture: Architecture,
        normalisation: Normalisation,
        *,
        weights_cache: Path | None = None,
    ) -> None:
        super().__init__()
        if len(normalisation.mean) != architecture.in_channels:
            raise BandMismatchError(
                f"normalisation has {len(normalisation.mean)} bands, the network {architecture.in_channels}"
            )
        self.architecture = architecture
        self.normalisation = normalisation
        self.body = build_body(architecture, weights_cache=weights_cache)
        self.input_size = input_size_of_body(self.body, architecture)
        """Heights and widths that the network takes."""
        self.hypercolumn: HypercolumnHead | None = None
        """A second head, whose logits are added to the classifier's."""
        if architecture.hypercolumn:
            self._check_hypercolumn()
            self.hypercolumn = HypercolumnHead(
                self.column_channels, architecture.hypercolumn, architecture.n_classes
            )
        allow_single_values(self.body)
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, -1, 1, 1), persistent=False)
        std = torch.tensor(normalisation.std).view(1, -1, 1, 1)
        self.register_buffer("inverse_std", 1 / std, persistent=False)

    @property
    def n_classes(self) -> int:
        """Number of logit channels."""
        return self.classifier.out_channels

    @property
    def classifier(self) -> nn.Conv2d:
        """The convolution that turns decoder features into logits."""
        layer: nn.Conv2d = self.body.segmentation_head[0]
        return layer

    @property
    def column_channels(self) -> tuple[int, ...]:
        """Channels of `SegmenterOutput.columns`, whether there is a hypercolumn head or not."""
        levels = (channels for channels in self.body.encoder.out_channels[1:] if channels)
        return (self.classifier.in_channels, *levels)

    @property
    def output_stride(self) -> int:
        """Pixels to one of the deepest encoder level."""
        return int(self.body.encoder.output_stride)

    def forward(self, pixels: Tensor, *, with_levels: bool = False) -> SegmenterOutput:
        """Logits and features of raw pixel values.

        Args:
            pixels: (B, C, H, W), any real dtype; H and W as `input_size` says.
            with_levels: give the encoder's levels too; in training they are there, and always given.

        Raises:
            BandMismatchError: another number of bands than the network was built for.
            InvalidParameterError: H or W is none that the network takes.
        """
        levels = self._levels(pixels)
        columns = (self.body.decoder(levels), *(level for level in levels[1:] if level.shape[1]))
        output = self.from_columns(columns, pixels.shape[2], pixels.shape[3])
        if not (with_levels or self.training):
            return output
        return output._replace(levels=tuple(levels[1:]), columns=columns)

    def from_columns(self, columns: Sequence[Tensor], height: int, width: int) -> SegmenterOutput:
        """What the heads make of the features of all levels.

        Args:
            columns: `SegmenterOutput.columns` of this network, or of one with the same encoder and decoder.
            height: of the pixels that they are of.
            width: likewise.
        """
        logits = self.body.segmentation_head(columns[0]).float()
        if self.hypercolumn is not None:
            logits = logits + self.hypercolumn(columns, height, width)
        return SegmenterOutput(logits, columns[-1], columns[0])

    def encode(self, pixels: Tensor) -> Tensor:
        """Deepest encoder level (B, C, h, w) alone, as `forward` gives it; arguments as there."""
        return self._levels(pixels)[-1]

    def _levels(self, pixels: Tensor) -> list[Tensor]:
        """All levels of the encoder, of pixels that fit."""
        _, bands, height, width = pixels.shape
        if bands != self.architecture.in_channels:
            raise BandMismatchError(f"the network takes {self.architecture.in_channels} bands, not {bands}")
        if not (self.input_size.fits(height) and self.input_size.fits(width)):
            raise InvalidParameterError(f"height and width must be {self.input_size}, not {height} x {width}")
        normalised = (pixels.to(self.mean.dtype) - self.mean) * self.inverse_std
        levels: list[Tensor] = self.body.encoder(normalised)
        return levels

    def extend(
        self,
        n_new: int,
        *,
        init: HeadInit = "background",
        generator: torch.Generator | None = None,
    ) -> Segmenter:
        """A copy with `n_new` more classes; this network is left as it is.

        Args:
            n_new: classes to add, at least 1.
            init: see `icss_core.networks.head`.
            generator: source of randomness for the random initialisations.

        Raises:
            InvalidParameterError: `n_new` is less than 1.
            TooManyClassesError: more classes than there may be.
        """
        if n_new < 1:
            raise InvalidParameterError(f"n_new must be at least 1, not {n_new}")
        check_number_of_classes(self.n_classes + n_new)
        grown = copy.deepcopy(self)
        grown.architecture = self.architecture.model_copy(update={"n_classes": self.n_classes + n_new})
        grown.body.segmentation_head[0] = extend_classifier(
            self.classifier, n_new, init=init, generator=generator
        )
        if self.hypercolumn is not None:
            grown.hypercolumn = self.hypercolumn.extended(n_new, init)
        return grown

    def with_hypercolumn(self, units: int) -> Segmenter:
        """A copy with so many more units in its hypercolumn head, and the same logits.

        A network without such a head gets one. This network is left as it is.

        Args:
            units: to add, at least 1.

        Raises:
            InvalidParameterError: `units` is less than 1, or more than there may be in all, or this network's
                maps do not fit the head.
        """
        if units < 1:
            raise InvalidParameterError(f"units must be at least 1, not {units}")
        if self.architecture.hypercolumn + units > UNITS_LIMIT:
            raise InvalidParameterError(
                f"the network has {self.architecture.hypercolumn} units over all levels; {units} more are "
                f"more than the {UNITS_LIMIT} that there may be"
            )
        self._check_hypercolumn()
        changed = copy.deepcopy(self)
        head = self.hypercolumn
        changed.hypercolumn = (
            HypercolumnHead(self.column_channels, units, self.n_classes).to(self.classifier.weight.device)
            if head is None
            else head.widened(units)
        )
        changed.architecture = self.architecture.model_copy(update={"hypercolumn": changed.hypercolumn.units})
        return changed

    def _check_hypercolumn(self) -> None:
        if self.input_size.multiple % STRIDE:
            raise InvalidParameterError(
                f"a hypercolumn head needs heights and widths that are multiples of {STRIDE}; this network "
                f"takes {self.input_size}"
            )
