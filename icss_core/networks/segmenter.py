"""The segmentation network: an encoder-decoder of segmentation-models-pytorch with a head that can grow."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import segmentation_models_pytorch as smp
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from icss_core.errors import BandMismatchError, InvalidParameterError, WeightsUnavailableError
from icss_core.networks.head import HeadInit, extend_classifier

if TYPE_CHECKING:
    from icss_core.networks.normalisation import Normalisation

Decoder = Literal[
    "unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet", "deeplabv3", "deeplabv3plus", "pan",
    "upernet", "segformer",
]  # fmt: skip
"""Architectures of segmentation-models-pytorch whose head is one convolution (DPT's is not)."""


_DILATED = ("deeplabv3", "deeplabv3plus", "pan")


class Architecture(BaseModel):
    """What is needed to build the same network again, without its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decoder: Decoder = "linknet"
    encoder: str = "resnet34"
    in_channels: int = Field(default=3, ge=1, le=512)
    n_classes: int = Field(ge=1, le=255)
    encoder_output_stride: Literal[8, 16] | None = None
    """Of dilated encoders (deeplabv3, deeplabv3plus, pan): pixels to one of the deepest level. None: the
    library's own, which for deeplabv3 is 8; MiB and its rivals have 16."""
    encoder_weights: str | None = None
    """Pretrained encoder weights of segmentation-models-pytorch ("imagenet"), downloaded when first built."""


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

    Raises:
        InvalidParameterError: unknown encoder, or an encoder that this decoder does not take.
        WeightsUnavailableError: pretrained weights were named and cannot be had.
        BandMismatchError: statistics for another number of bands.
    """

    mean: Tensor
    inverse_std: Tensor
    body: Any  # smp's models share no typed base

    def __init__(self, architecture: Architecture, normalisation: Normalisation) -> None:
        super().__init__()
        if len(normalisation.mean) != architecture.in_channels:
            raise BandMismatchError(
                f"normalisation has {len(normalisation.mean)} bands, the network {architecture.in_channels}"
            )
        self.architecture = architecture
        self.normalisation = normalisation
        self.body = _build_body(architecture)
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, -1, 1, 1), persistent=False)
        std = torch.tensor(normalisation.std).view(1, -1, 1, 1)
        self.register_buffer("inverse_std", 1 / std, persistent=False)

    @property
    def n_classes(self) -> int:
        """Number of logit channels."""
        return self.classifier.out_channels

    @property
    def classifier(self) -> nn.Conv2d:
        """The convolution that turns decoder features into logits: the only layer that knows N."""
        layer: nn.Conv2d = self.body.segmentation_head[0]
        return layer

    @property
    def output_stride(self) -> int:
        """Heights and widths of inputs must be multiples of this."""
        return int(self.body.encoder.output_stride)

    def forward(self, pixels: Tensor, *, with_levels: bool = False) -> SegmenterOutput:
        """Logits and features of raw pixel values.

        Args:
            pixels: (B, C, H, W), any real dtype; H and W multiples of `output_stride`.
            with_levels: give the encoder's levels too; in training they are there, and always given.

        Raises:
            BandMismatchError: another number of bands than the network was built for.
            InvalidParameterError: H or W is no multiple of `output_stride`.
        """
        levels = self._levels(pixels)
        decoded = self.body.decoder(levels)
        logits = self.body.segmentation_head(decoded)
        # the first is the input itself
        kept = tuple(levels[1:]) if with_levels or self.training else ()
        return SegmenterOutput(logits.float(), levels[-1], decoded, kept)

    def encode(self, pixels: Tensor) -> Tensor:
        """Deepest encoder level (B, C, h, w) alone, as `forward` gives it; arguments as there."""
        return self._levels(pixels)[-1]

    def _levels(self, pixels: Tensor) -> list[Tensor]:
        """All levels of the encoder, of pixels that fit."""
        _, bands, height, width = pixels.shape
        if bands != self.architecture.in_channels:
            raise BandMismatchError(f"the network takes {self.architecture.in_channels} bands, not {bands}")
        if height % self.output_stride or width % self.output_stride:
            raise InvalidParameterError(
                f"height and width must be multiples of {self.output_stride}, not {height} x {width}"
            )
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
        """
        if n_new < 1:
            raise InvalidParameterError(f"n_new must be at least 1, not {n_new}")
        grown = copy.deepcopy(self)
        grown.architecture = self.architecture.model_copy(update={"n_classes": self.n_classes + n_new})
        grown.body.segmentation_head[0] = extend_classifier(
            self.classifier, n_new, init=init, generator=generator
        )
        return grown


def output_stride_of(architecture: Architecture) -> int:
    """Pixels to one of the deepest encoder level, without weights being made.

    Raises:
        InvalidParameterError: as `Segmenter`.
    """
    with torch.device("meta"):
        body: Any = _build_body(architecture.model_copy(update={"encoder_weights": None}))
    return int(body.encoder.output_stride)


def _build_body(architecture: Architecture) -> nn.Module:
    if architecture.decoder not in get_args(Decoder):
        raise InvalidParameterError(f"unknown decoder {architecture.decoder!r}; one of {get_args(Decoder)}")
    dilation = {}
    if architecture.encoder_output_stride is not None:
        # the library passes over what it does not know
        if architecture.decoder not in _DILATED:
            raise InvalidParameterError(
                f"encoder_output_stride is for {', '.join(_DILATED)}, not for {architecture.decoder}"
            )
        dilation = {"encoder_output_stride": architecture.encoder_output_stride}
    try:
        body: nn.Module = smp.create_model(
            architecture.decoder,
            encoder_name=architecture.encoder,
            encoder_weights=architecture.encoder_weights,
            in_channels=architecture.in_channels,
            classes=architecture.n_classes,
            **dilation,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidParameterError(
            f"cannot build {architecture.decoder} with encoder {architecture.encoder!r}: {error}"
        ) from error
    except OSError as error:
        raise WeightsUnavailableError(
            f"pretrained weights {architecture.encoder_weights!r} of {architecture.encoder!r} cannot be "
            f"fetched from here ({error}); use encoder_weights=None or start from a registered model"
        ) from error
    return body
