"""The hypercolumn layer: what it computes, and that a network with it is a network like any other."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from icss_core.errors import InvalidParameterError
from icss_core.inference.prepare import prepare_for_inference
from icss_core.networks import Architecture, ModelCard, Segmenter, identity, load_model, save_model
from icss_core.networks.hypercolumn import HypercolumnLayer
from icss_core.networks.input_size import InputSize
from tests.networks.label_spaces import label_space


def network(decoder: str = "linknet", *, n_classes: int = 2, **more) -> Segmenter:
    torch.manual_seed(0)
    architecture = Architecture(decoder=decoder, encoder="tu-test_resnet", n_classes=n_classes, **more)
    return Segmenter(architecture, identity(3)).eval()


def naive(layer: HypercolumnLayer, features: list[torch.Tensor]) -> torch.Tensor:
    """Resize everything first, then one matrix over the whole column of each place."""
    resized = []
    for one in features:
        factor = one.shape[2] // 16
        if factor > 1:
            blocks = one.unfold(2, factor, factor).unfold(3, factor, factor)
            resized.append(blocks.mean(dim=(-1, -2)))
        else:
            resized.append(functional.interpolate(one, size=(16, 24), mode="bilinear", align_corners=False))
    columns = torch.cat(resized, dim=1)
    matrix = torch.cat([one.weight[:, :, 0, 0] for one in layer.projections], dim=1)
    return functional.gelu(torch.einsum("uc,bchw->buhw", matrix, columns) + layer.bias[:, None, None])


def test_convolving_before_resizing_is_resizing_before_convolving() -> None:
    torch.manual_seed(1)
    layer = HypercolumnLayer([3, 5, 7, 2], units=6)
    torch.nn.init.normal_(layer.bias)
    shapes = ((3, 64, 96), (5, 32, 48), (7, 16, 24), (2, 2, 3))
    features = [torch.randn(2, *shape) for shape in shapes]
    torch.testing.assert_close(layer(features, 64, 96), naive(layer, features))


@pytest.mark.parametrize("decoder", ["linknet", "unet", "deeplabv3plus", "fpn", "segformer"])
def test_a_copy_with_the_layer_is_whole_and_the_network_stays_as_it_was(decoder) -> None:
    plain = network(decoder)
    pixels = torch.rand(1, 3, 64, 96)
    before = plain(pixels).logits
    grown = plain.with_hypercolumn(8)
    output = grown(pixels, with_levels=True)
    assert output.logits.shape == (1, 2, 64, 96)
    assert output.decoder_features.shape == (1, 8, 16, 24)
    assert [one.shape[1] for one in output.columns] == list(grown.hypercolumn.channels)
    torch.testing.assert_close(grown.body.segmentation_head(output.decoder_features), output.logits)
    # what the layer sees is what the plain network has
    theirs = plain(pixels, with_levels=True)
    for one, other in zip(output.columns, theirs.columns, strict=True):
        torch.testing.assert_close(one, other)
    assert torch.equal(plain(pixels).logits, before)
    assert (plain.hypercolumn, plain.architecture.hypercolumn) == (None, 0)
    again = grown.with_hypercolumn(4)
    assert again.hypercolumn.channels == grown.hypercolumn.channels, "a layer is replaced, not stacked"
    assert again(pixels).decoder_features.shape[1] == 4


def test_a_class_more_changes_no_old_prediction() -> None:
    memory = network().with_hypercolumn(8)
    pixels = torch.rand(1, 3, 64, 64)
    old = memory(pixels).logits.softmax(1)
    new = memory.extend(2)(pixels).logits.softmax(1)
    torch.testing.assert_close(new[:, 0] + new[:, 2:].sum(1), old[:, 0])
    torch.testing.assert_close(new[:, 1], old[:, 1])


def test_it_is_kept_with_the_version(tmp_path) -> None:
    saved = network().with_hypercolumn(8)
    card = ModelCard(
        architecture=saved.architecture,
        normalisation=saved.normalisation,
        label_space=label_space(2),
        method="pretraining",
    )
    save_model(tmp_path / "model", saved, card)
    loaded, read = load_model(tmp_path / "model")
    assert read.architecture.hypercolumn == 8
    pixels = torch.rand(1, 3, 64, 64)
    assert torch.equal(loaded(pixels).logits, saved(pixels).logits)
    with torch.no_grad():
        loaded.hypercolumn.bias += 1
    assert not torch.equal(loaded(pixels).logits, saved(pixels).logits)


def test_inference_computes_the_same() -> None:
    trained = network().with_hypercolumn(16)
    pixels = torch.rand(2, 3, 64, 64) * 255
    with torch.inference_mode():
        expected = trained(pixels).logits
        exact = prepare_for_inference(trained, "float32")(pixels).logits
        narrow = prepare_for_inference(trained, "bfloat16")(pixels).logits
    torch.testing.assert_close(exact, expected, rtol=1e-3, atol=1e-3)
    scale = float(expected.std())
    assert float((narrow - expected).abs().mean()) < 0.05 * scale
    assert np.mean((narrow.argmax(1) == expected.argmax(1)).numpy()) > 0.97


def test_the_layer_learns_with_the_rest() -> None:
    trained = network().with_hypercolumn(8).train()
    trained(torch.rand(2, 3, 64, 64)).logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in trained.hypercolumn.parameters())
    assert next(trained.body.encoder.parameters()).grad.abs().sum() > 0


def test_what_cannot_be_is_refused() -> None:
    plain = network()
    with pytest.raises(InvalidParameterError, match="at least 1"):
        plain.with_hypercolumn(0)
    plain.input_size = InputSize(6, 6)
    with pytest.raises(InvalidParameterError, match="multiples of 4"):
        plain.with_hypercolumn(8)
