"""Which heights and widths a network takes: the one place that knows, for every decoder and encoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import torch

from icss_core.errors import InvalidParameterError
from icss_core.networks.architecture import Architecture, build_bare_body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

STEP: Final = 32
"""Sides of windows, tiles and crops are multiples of this: the coarsest stride of the usual encoders."""
_LARGEST_TRIED: Final = 256
_SMALLEST: Final = (32, 64, 96, 128, 256)
_MULTIPLES: Final = (32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class InputSize:
    """Multiples of a number, from a smallest one on."""

    smallest: int
    """Itself a multiple."""
    multiple: int

    def fits(self, length: int) -> bool:
        """Whether a height or a width is one that the network takes."""
        return length >= self.smallest and length % self.multiple == 0

    def fitting(self, length: int) -> int:
        """The shortest side of a window, tile or crop that is at least `length`: a multiple of `STEP` too."""
        step = self.step
        return -(-max(length, self.smallest) // step) * step

    def nearest(self, length: float) -> int:
        """The nearest side of a window, tile or crop; the longer of two."""
        return max(int(length / self.step + 0.5) * self.step, self.fitting(1))

    @property
    def step(self) -> int:
        """What sides of windows, tiles and crops are multiples of."""
        return math.lcm(self.multiple, STEP)

    def __str__(self) -> str:
        start = f" from {self.smallest} on" if self.smallest > self.multiple else ""
        return f"multiples of {self.multiple}{start}"


USUAL: Final = InputSize(STEP, STEP)
"""What is assumed of a network that does not say."""


def input_size_of(network: nn.Module) -> InputSize:
    """What a network says it takes, as its `input_size`, or the usual."""
    said = getattr(network, "input_size", None)
    return said if isinstance(said, InputSize) else USUAL


def input_size_of_body(body: Any, architecture: Architecture) -> InputSize:
    """Sizes that a model of the library takes, as a few passes over small pictures tell.

    Most take every multiple of the stride of their deepest level. PAN halves that level three times more, the
    Inception encoders cut margins off, and encoders that attend within windows take multiples of these.

    Args:
        body: encoder, decoder and head; left as it was.
        architecture: what it was built from.

    Raises:
        InvalidParameterError: it takes one size only, as encoders with an embedding of each position do.
    """
    training = body.training
    body.eval()
    try:
        for size in _candidates(int(body.encoder.output_stride)):
            # not square, and two sizes, because some take their own size only
            if all(
                _takes(body, architecture.in_channels, size.smallest, width)
                for width in (size.smallest, size.smallest + size.multiple)
            ):
                return size
    finally:
        body.train(training)
    raise InvalidParameterError(
        f"encoder {architecture.encoder!r} takes images of one size only (no two sizes up to "
        f"{_LARGEST_TRIED} pixels were accepted), and windows and crops have several; choose a convolutional "
        "encoder, or a transformer that takes any size, such as 'mit_b0', 'tu-pvt_v2_b0' or 'tu-davit_tiny'"
    )


@lru_cache(maxsize=64)
def input_size_of_architecture(architecture: Architecture) -> InputSize:
    """Sizes that a network of this architecture takes, without the network being made.

    Raises:
        InvalidParameterError: it cannot be built, or takes one size only.
    """
    return input_size_of_body(build_bare_body(architecture), architecture)


def check_crop(architecture: Architecture, crop: int) -> None:
    """Refuse crops that a network does not take, before anything is trained.

    Args:
        architecture: of the network.
        crop: side of the crops in pixels.

    Raises:
        InvalidParameterError: it does not take them, or cannot be built.
    """
    check_side(input_size_of_architecture(architecture), crop, name="crop", network=architecture)


def check_side(size: InputSize, side: int, *, name: str, network: Architecture | None = None) -> None:
    """Refuse a side of windows or crops that a network does not take.

    Args:
        size: what it takes.
        side: in pixels.
        name: of the setting that gave it.
        network: named in the message.

    Raises:
        InvalidParameterError: the message says what is taken, and the nearest side that is.
    """
    if size.fits(side):
        return
    named = "this network" if network is None else f"{network.decoder} with encoder {network.encoder!r}"
    raise InvalidParameterError(
        f"{name} is {side} pixels, and {named} takes {size}; set {name} to {size.fitting(side)}"
    )


def _candidates(stride: int) -> Iterator[InputSize]:
    for multiple in (stride, *(one for one in _MULTIPLES if one > stride)):
        for smallest in sorted({multiple, *_SMALLEST}):
            if smallest % multiple == 0:
                yield InputSize(smallest, multiple)


def _takes(body: Any, bands: int, height: int, width: int) -> bool:
    device = next(body.parameters()).device
    try:
        with torch.no_grad():
            levels = body.encoder(torch.zeros(1, bands, height, width, device=device))
            logits = body.segmentation_head(body.decoder(levels))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - every encoder has its own way to refuse a size
        return False
    return bool(logits.shape[2:] == (height, width))
