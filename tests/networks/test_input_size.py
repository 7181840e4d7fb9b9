"""Sizes that networks take; the library's own models are asked one size after another."""

from __future__ import annotations

import pytest
import torch

from icss_core.errors import InvalidParameterError
from icss_core.inference import ArraySink, predict, prepare_for_inference
from icss_core.networks import Architecture, Segmenter, identity
from icss_core.networks.architecture import build_bare_body, output_stride_of
from icss_core.networks.input_size import USUAL, InputSize, input_size_of, input_size_of_architecture
from icss_core.raster.source import ArraySource


def architecture(decoder: str, encoder: str, **more) -> Architecture:
    return Architecture(decoder=decoder, encoder=encoder, n_classes=2, **more)


@pytest.mark.parametrize(
    "size", [InputSize(32, 32), InputSize(128, 16), InputSize(96, 32), InputSize(256, 256)]
)
def test_sides_are_those_a_search_gives(size) -> None:
    taken = [side for side in range(32, 2049, 32) if side >= size.smallest and side % size.multiple == 0]
    assert all(size.fits(side) for side in taken)
    for length in (1, 31, 32, 33, 127, 128, 129, 500, 512):
        assert size.fitting(length) == min(side for side in taken if side >= length)
        # the longer of two that are equally near
        assert size.nearest(length) == min(taken, key=lambda side, near=length: (abs(side - near), -side))


@pytest.mark.parametrize(
    ("decoder", "encoder", "more", "expected"),
    [
        ("unet", "tu-test_convnext", {}, InputSize(32, 32)),
        ("pspnet", "tu-test_resnet", {}, InputSize(8, 8)),
        ("pan", "tu-test_resnet", {}, InputSize(128, 16)),
        ("deeplabv3", "tu-test_resnet", {"encoder_output_stride": 16}, InputSize(16, 16)),
        ("segformer", "mit_b0", {}, InputSize(32, 32)),
        ("unet", "tu-inception_v3", {}, InputSize(96, 32)),
        ("pan", "tu-halonet26t", {}, InputSize(128, 128)),
    ],
)
def test_a_network_says_the_sizes_that_the_library_model_takes(decoder, encoder, more, expected) -> None:
    chosen = architecture(decoder, encoder, **more)
    assert input_size_of_architecture(chosen) == expected
    body = build_bare_body(chosen).eval()
    device = next(body.parameters()).device

    def takes(side: int) -> bool:
        try:
            with torch.no_grad():
                shape = body(torch.zeros(1, 3, side, side, device=device)).shape
        except (RuntimeError, AssertionError, ValueError):
            return False
        return shape[2:] == (side, side)

    for side in (expected.smallest, expected.smallest + expected.multiple, 256):
        assert takes(side) == expected.fits(side)
    below = expected.smallest - expected.multiple
    assert below <= 0 or not takes(below)


@pytest.mark.parametrize(
    ("encoder", "match"),
    [
        ("tu-swin_tiny_patch4_window7_224", "images of one size only.*tu-pvt_v2_b0"),
        ("tu-hiera_tiny_224", "images of one size only"),
        ("tu-test_vit", "strides 4, 8, 16 and 32.*mit_b0"),
        ("tu-vgg11", "it refuses with AssertionError"),
    ],
)
def test_encoders_that_cannot_be_used_are_refused_when_the_network_is_made(encoder, match) -> None:
    decoder = "pan" if encoder == "tu-vgg11" else "unet"
    with pytest.raises(InvalidParameterError, match=match):
        Segmenter(architecture(decoder, encoder), identity(3))
    with pytest.raises(InvalidParameterError, match=match):
        input_size_of_architecture(architecture(decoder, encoder))


@pytest.mark.parametrize("encoder", ["mit_b0", "tu-test_convnext", "tu-edgenext_xx_small"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_transformers_predict_an_image_that_is_no_multiple(encoder, precision) -> None:
    torch.manual_seed(0)
    network = Segmenter(architecture("unet", encoder), identity(3)).eval()
    pixels = torch.rand(3, 64, 97)
    sink = ArraySink(64, 97)
    predict(network, ArraySource(pixels.numpy()), sink, n_classes=2, precision=precision)
    padded = torch.cat([pixels, pixels.flip(2)[:, :, :31]], dim=2)
    with torch.inference_mode():
        scores = network.body(padded[None])[0, :, :, :97]
    margin = scores[0] - scores[1]
    clear = margin.abs() > 0.05 * scores.abs().max()
    assert clear.any()
    assert (torch.from_numpy(sink.labels)[clear] == (margin < 0)[clear]).all()


def test_a_network_that_mixes_types_stays_in_float32() -> None:
    """EdgeNeXt multiplies a float32 table with narrow weights."""
    network = Segmenter(architecture("unet", "tu-edgenext_xx_small"), identity(3))
    assert prepare_for_inference(network, "bfloat16").dtype == torch.float32
    plain = Segmenter(architecture("unet", "tu-test_convnext"), identity(3))
    assert prepare_for_inference(plain, "bfloat16").dtype == torch.bfloat16


def test_a_stride_can_be_told_of_encoders_that_look_at_their_weights_and_the_callers_draws_stay() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert output_stride_of(architecture("segformer", "mit_b0")) == 32
    assert torch.equal(torch.rand(3), expected)


def test_any_other_network_is_taken_to_be_usual() -> None:
    assert input_size_of(torch.nn.Identity()) == USUAL
