from __future__ import annotations

import pytest
import torch
from small_networks import Convolutions, lived_in_segmenter
from torch import Tensor, nn

from icss_core.errors import InvalidParameterError
from icss_core.inference.prepare import PreparedNetwork, logits_of, prepare_for_inference


def example(bands: int = 3, size: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, bands, size, size), generator=generator, dtype=torch.uint8)


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(
    ("decoder", "encoder"),
    [
        ("linknet", "resnet18"), ("unet", "resnet18"), ("fpn", "mobilenet_v2"), ("pspnet", "resnet18"),
        ("deeplabv3plus", "resnet18"), ("unet", "efficientnet-b0"), ("segformer", "mit_b0"),
        ("manet", "resnet18"), ("upernet", "resnet18"), ("unetplusplus", "resnet18"),
        ("unet", "densenet121"),
    ],
)  # fmt: skip
def test_computes_the_same_with_fewer_layers(decoder: str, encoder: str) -> None:
    network = lived_in_segmenter(decoder=decoder, encoder=encoder)
    with torch.inference_mode():
        expected = network(example()).logits
        scale = float(expected.abs().max())
        exact = logits_of(prepare_for_inference(network, "float32")(example()))
        narrow = logits_of(prepare_for_inference(network, "bfloat16")(example()))
    assert exact.dtype == narrow.dtype == torch.float32
    torch.testing.assert_close(exact, expected, rtol=1e-3, atol=1e-3 * scale)
    assert float((narrow - expected).abs().mean()) < 0.03 * scale


def test_every_norm_of_linknet_is_folded() -> None:
    network = lived_in_segmenter(encoder="resnet34")
    assert norms(network) > 40
    assert norms(prepare_for_inference(network, "float32")) == 0


def test_a_norm_is_not_folded_where_its_convolution_is_used_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
            self.norm.running_var.fill_(9.0)

        def forward(self, pixels: Tensor) -> Tensor:
            made = self.convolution(pixels.float())
            return self.norm(made) + made

    network = Twice().eval()
    prepared = prepare_for_inference(network, "float32")
    assert norms(prepared) == 1
    with torch.inference_mode():
        torch.testing.assert_close(prepared(example()), network(example()))


def test_weights_are_narrow_once_and_statistics_are_not() -> None:
    network = lived_in_segmenter()
    prepared = prepare_for_inference(network, "bfloat16")
    assert prepared.dtype == torch.bfloat16
    convolutions = [module for module in prepared.modules() if isinstance(module, nn.Conv2d)]
    assert {module.weight.dtype for module in convolutions} == {torch.bfloat16}
    assert prepared.network.mean.dtype == torch.float32
    assert prepare_for_inference(network, "float32").dtype == torch.float32


def test_a_prepared_network_is_not_prepared_again() -> None:
    prepared = prepare_for_inference(Convolutions())
    assert isinstance(prepared, PreparedNetwork)
    assert prepare_for_inference(prepared, "float32") is prepared


def test_the_original_stays() -> None:
    network = Convolutions().train()
    prepared = prepare_for_inference(network, "bfloat16")
    assert network.training
    assert not prepared.training
    assert norms(network) == 1
    assert all(weight.requires_grad for weight in network.parameters())
    assert not network.layers[0]._forward_hooks
    assert not any(weight.requires_grad for weight in prepared.parameters())


def test_a_network_without_convolutions_is_fine() -> None:
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.layer(pixels.movedim(1, 3).float()).movedim(3, 1)

    network = Linear()
    with torch.inference_mode():
        torch.testing.assert_close(prepare_for_inference(network, "float32")(example()), network(example()))


def test_what_is_no_logits_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="list"):
        logits_of([1, 2])
