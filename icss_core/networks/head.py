"""Growing the classifier by new classes."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from icss_core.errors import InvalidParameterError

HeadInit = Literal["background", "random", "replace"]
"""How a grown classifier starts.

`background`: MiB Eqs. 10-11, new rows are the background's, so the network's old predictions are unchanged.
`random`: old rows stay, new rows start as PyTorch starts a layer.
`replace`: all rows start anew, old ones too, as the published ICSS code does; the old classes have to be
relearnt from pseudo-labels.
"""


def background_init(weight: Tensor, bias: Tensor, n_new: int) -> tuple[Tensor, Tensor]:
    """Rows of a classifier after `n_new` classes split the background's probability evenly.

    Every new row gets the background's weights, and all n_new + 1 of them the bias b_bg - log(n_new + 1):
    softmax over the new head, background and new classes added up, equals the old background probability.

    Args:
        weight: (O, D, kh, kw) or (O, D), rows by class, 0 = background.
        bias: (O,).
        n_new: number of new classes.

    Returns:
        weight (O + n_new, D, ...) and bias (O + n_new,), dtypes kept.

    Source: Cermelli et al., Modeling the Background, Eqs. 10-11, with |C^t| = n_new + 1.
    """
    shared_bias = bias[:1] - math.log(n_new + 1)
    grown_weight = torch.cat([weight, weight[:1].expand(n_new, *weight.shape[1:])])
    grown_bias = torch.cat([shared_bias, bias[1:], shared_bias.expand(n_new)])
    return grown_weight, grown_bias


def extend_classifier(
    classifier: nn.Conv2d, n_new: int, *, init: HeadInit, generator: torch.Generator | None = None
) -> nn.Conv2d:
    """A new convolution with `n_new` more output channels, on the old one's device and dtype.

    Raises:
        InvalidParameterError: `init` is none of `HeadInit`.
    """
    if init not in get_args(HeadInit):
        raise InvalidParameterError(f"unknown head initialisation {init!r}; one of {get_args(HeadInit)}")
    n_old = classifier.out_channels
    # torch takes a padding of "same" or a tuple; smp's heads give tuples
    grown = nn.Conv2d(
        classifier.in_channels,
        n_old + n_new,
        (classifier.kernel_size[0], classifier.kernel_size[1]),
        padding=classifier.padding if isinstance(classifier.padding, str) else tuple(classifier.padding),  # type: ignore[arg-type]
        device=classifier.weight.device,
        dtype=classifier.weight.dtype,
    )
    old_bias = classifier.bias if classifier.bias is not None else classifier.weight.new_zeros(n_old)
    with torch.no_grad():
        if init == "background":
            weight, bias = background_init(classifier.weight, old_bias, n_new)
        else:
            weight, bias = _default_rows(grown, generator)
            if init == "random":
                weight[:n_old], bias[:n_old] = classifier.weight, old_bias
        grown.weight.copy_(weight)
        assert grown.bias is not None  # noqa: S101 - nn.Conv2d has one unless told otherwise
        grown.bias.copy_(bias)
    return grown


def _default_rows(layer: nn.Conv2d, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """PyTorch's own initialisation of a convolution, uniform in +-1/sqrt(fan-in), from a given generator."""
    bound = 1 / math.sqrt(layer.weight[0].numel())
    weight = torch.empty(layer.weight.shape).uniform_(-bound, bound, generator=generator)
    bias = torch.empty(layer.out_channels).uniform_(-bound, bound, generator=generator)
    return weight.to(layer.weight), bias.to(layer.weight)
