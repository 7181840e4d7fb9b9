"""A copy of a network made for inference: fewer layers, the fastest layout, narrow weights."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from icss_core.compute.layout import to_channels_last
from icss_core.compute.precision import Precision, resolve_precision
from icss_core.errors import InvalidParameterError
from icss_core.networks.input_size import InputSize, input_size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXAMPLE = 64
_Convolution = (nn.Conv2d, nn.ConvTranspose2d)
_Narrowed = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.LayerNorm, nn.GroupNorm)


class PreparedNetwork(nn.Module):
    """A network prepared for inference, called like the network itself.

    Args:
        network: the prepared copy.
        dtype: of its convolution weights.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype
        self.eval()

    @property
    def input_size(self) -> InputSize:
        """Heights and widths that the network takes."""
        return input_size_of(self.network)

    def forward(self, pixels: Tensor) -> object:
        """The network's output for raw pixel values (B, C, H, W) of any real dtype."""
        return self.network(pixels)


def prepare_for_inference(network: nn.Module, precision: Precision = "auto") -> PreparedNetwork:
    """A copy of a network that computes the same faster; the network itself is left as it is.

    Batch norms are folded into the convolutions before them in float32, weights are laid out channels-last,
    and weights are cast once to bfloat16 where the device multiplies it natively (autocast would cast them at
    each call), as long as the network runs so: some attention layers mix types, and stay float32. Logits of a
    `Segmenter` are float32 in any case.

    Args:
        network: a `Segmenter`, or any module that maps pixels (B, C, H, W) to logits or to an output with
            `.logits`. A prepared network is returned unchanged.
        precision: "auto", "float32" or "bfloat16".
    """
    if isinstance(network, PreparedNetwork):
        return network
    device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
    dtype = resolve_precision(precision, device)
    plain = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
    example = _example(plain, device)
    prepared = plain if example is None else _folded(plain, example)
    if dtype != torch.float32:
        narrow = copy.deepcopy(prepared)
        _narrow(narrow, dtype)
        if example is None or _runs(narrow, example):
            prepared = narrow
        else:
            dtype = torch.float32
    to_channels_last(prepared)
    return PreparedNetwork(prepared, dtype)


def logits_of(output: object) -> Tensor:
    """Logits (B, K, H, W) of what a network gave: the output itself, or its `.logits`."""
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor):
        raise InvalidParameterError(f"the network gives {type(output).__name__}, not logits")
    return logits


def _example(network: nn.Module, device: torch.device) -> Tensor | None:
    """A small picture that the network takes; None for one without convolutions."""
    bands = next((layer.in_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)), None)
    if bands is None:
        return None
    side = input_size_of(network).fitting(_EXAMPLE)
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, bands, side, side, generator=generator).to(device) * 255


def _runs(network: nn.Module, example: Tensor) -> bool:
    """Whether a narrow network computes at all."""
    try:
        with torch.inference_mode():
            logits_of(network(example))
    except RuntimeError:  # torch's only error for types that do not go together
        return False
    return True


def _folded(plain: nn.Module, example: Tensor) -> nn.Module:
    """A copy with batch norms folded, or the network itself where folding would change what it computes."""
    pairs, expected = _convolution_norm_pairs(plain, example)
    folded = copy.deepcopy(plain)
    names = {module: name for name, module in plain.named_modules()}
    for convolution, norm in pairs:
        _fold(folded, names[convolution], names[norm])
    with torch.inference_mode():
        logits = logits_of(folded(example))
    # A convolution whose output is also used past its batch norm must not be folded; no public encoder of
    # this kind is known, and one forward pass over a small picture tells.
    same = torch.allclose(logits, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    return folded if same else plain


def _convolution_norm_pairs(
    network: nn.Module, example: Tensor
) -> tuple[list[tuple[nn.Module, nn.BatchNorm2d]], Tensor]:
    """Pairs where a batch norm takes exactly what a convolution gave, and the logits of the example."""
    made: dict[int, tuple[nn.Module, Tensor]] = {}
    # a network that goes through its layers several times (`MultiScale`) has each pair once
    pairs: dict[tuple[nn.Module, nn.BatchNorm2d], None] = {}

    def remember(module: nn.Module, _: object, output: Tensor) -> None:
        made[id(output)] = (module, output)  # the tensor too, so that its id is not given to another

    def match(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(module, nn.BatchNorm2d) and id(inputs[0]) in made:
            pairs[made[id(inputs[0])][0], module] = None

    handles = [module.register_forward_hook(remember) for module in _of_type(network, _Convolution)]
    # exactly BatchNorm2d: subclasses (timm's BatchNormAct2d) do more than normalise
    norms = [norm for norm in _of_type(network, nn.BatchNorm2d) if type(norm) is nn.BatchNorm2d]
    handles += [norm.register_forward_pre_hook(match) for norm in norms]
    try:
        with torch.inference_mode():
            logits = logits_of(network(example))
    finally:
        for handle in handles:
            handle.remove()
    return list(pairs), logits


def _of_type(network: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...]) -> Iterator[nn.Module]:
    return (module for module in network.modules() if isinstance(module, kind))


def _fold(network: nn.Module, convolution_name: str, norm_name: str) -> None:
    convolution = network.get_submodule(convolution_name)
    norm = network.get_submodule(norm_name)
    if not (isinstance(convolution, _Convolution) and isinstance(norm, nn.BatchNorm2d)):
        raise TypeError(f"{convolution_name} and {norm_name} are no convolution with its batch norm")
    if norm.running_mean is None or norm.running_var is None:
        return  # normalises by the batch at hand even in evaluation: nothing fixed to fold
    weight, bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight,
        norm.bias, transpose=isinstance(convolution, nn.ConvTranspose2d),
    )  # fmt: skip
    convolution.weight, convolution.bias = weight, bias
    convolution.requires_grad_(requires_grad=False)
    network.set_submodule(norm_name, nn.Identity())


def _narrow(network: nn.Module, dtype: torch.dtype) -> None:
    """Cast the layers that multiply; statistics, and whatever else a network keeps, stay as they are."""
    for layer in _of_type(network, _Narrowed):
        layer.to(dtype)
        layer.register_forward_pre_hook(_cast_input)


def _cast_input(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    weight = layer.weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"{type(layer).__name__} has no weight tensor")
    return (inputs[0].to(weight.dtype), *inputs[1:])
