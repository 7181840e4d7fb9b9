"""The hypercolumn head: what it computes, and that a network with it is a network like any other."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from icss_core.errors import InvalidParameterError
from icss_core.inference.prepare import prepare_for_inference
from icss_core.networks import Architecture, ModelCard, Segmenter, identity, load_model, save_model
from icss_core.networks.hypercolumn import HypercolumnHead
from icss_core.networks.input_size import InputSize
from tests.networks.label_spaces import label_space


def network(decoder: str = "linknet", *, n_classes: int = 2, **more) -> Segmenter:
    torch.manual_seed(0)
    architecture = Architecture(decoder=decoder, encoder="tu-test_resnet", n_classes=n_classes, **more)
    return Segmenter(architecture, identity(3)).eval()


def speaking(units: int, **more) -> Segmenter:
    """A network whose hypercolumn head says something."""
    grown = network(**more).with_hypercolumn(units)
    randomise(grown.hypercolumn)
    return grown


def randomise(head: HypercolumnHead) -> None:
    torch.manual_seed(7)
    for parameter in (head.bias, *head.classifier.parameters()):
        torch.nn.init.normal_(parameter)


def naive(head: HypercolumnHead, features: list[torch.Tensor]) -> torch.Tensor:
    """Resize everything first, then the two matrices over the whole column of each place."""
    resized = []
    for one in features:
        factor = one.shape[2] // 16
        if factor > 1:
            blocks = one.unfold(2, factor, factor).unfold(3, factor, factor)
            resized.append(blocks.mean(dim=(-1, -2)))
        else:
            resized.append(functional.interpolate(one, size=(16, 24), mode="bilinear", align_corners=False))
    columns = torch.cat(resized, dim=1)
    matrix = torch.cat([one.weight[:, :, 0, 0] for one in head.projections], dim=1)
    units = functional.gelu(torch.einsum("uc,bchw->buhw", matrix, columns) + head.bias[:, None, None])
    logits = torch.einsum("nu,buhw->bnhw", head.classifier.weight[:, :, 0, 0], units)
    logits = logits + head.classifier.bias[:, None, None]
    return functional.interpolate(logits, size=(64, 96), mode="bilinear", align_corners=False)


def test_convolving_before_resizing_is_resizing_before_convolving() -> None:
    torch.manual_seed(1)
    head = HypercolumnHead([3, 5, 7, 2], units=6, n_classes=4)
    shapes = ((3, 64, 96), (5, 32, 48), (7, 16, 24), (2, 2, 3))
    features = [torch.randn(2, *shape) for shape in shapes]
    assert not head(features, 64, 96).any(), "it starts with nothing to say"
    randomise(head)
    torch.testing.assert_close(head(features, 64, 96), naive(head, features))
    # single columns: maps of one place are the same everywhere
    columns = torch.randn(5, 17)
    maps = [one[:, :, None, None].expand(-1, -1, 4, 4) for one in columns.split(head.channels, dim=1)]
    torch.testing.assert_close(head.of_columns(columns), head(maps, 16, 16)[:, :, 3, 5])


@pytest.mark.parametrize("decoder", ["linknet", "unet", "deeplabv3plus", "fpn", "segformer"])
def test_its_logits_are_added_to_the_classifiers(decoder) -> None:
    plain = network(decoder)
    pixels = torch.rand(1, 3, 64, 96)
    before = plain(pixels, with_levels=True)
    grown = plain.with_hypercolumn(8)
    assert torch.equal(grown(pixels).logits, before.logits)
    randomise(grown.hypercolumn)
    output = grown(pixels, with_levels=True)
    assert [one.shape[1] for one in output.columns] == list(grown.column_channels)
    for one, other in zip(output.columns, before.columns, strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(output.logits, before.logits + naive(grown.hypercolumn, output.columns))
    torch.testing.assert_close(output.decoder_features, before.decoder_features)
    assert torch.equal(plain(pixels).logits, before.logits)
    assert (plain.hypercolumn, plain.architecture.hypercolumn) == (None, 0)
    wider = grown.with_hypercolumn(4)
    assert (wider.architecture.hypercolumn, wider.hypercolumn.units) == (12, 12)
    torch.testing.assert_close(wider(pixels).logits, output.logits)


@pytest.mark.parametrize("init", ["random", "replace"])
def test_new_classes_that_do_not_start_as_the_background_start_with_nothing(init) -> None:
    memory = speaking(8)
    grown = memory.extend(1, init=init).hypercolumn.classifier
    old = memory.hypercolumn.classifier.weight
    assert not grown.weight[2:].any()
    assert torch.equal(grown.weight[:2], old if init == "random" else torch.zeros_like(old))


def test_a_class_more_changes_no_old_prediction() -> None:
    memory = speaking(8)
    pixels = torch.rand(1, 3, 64, 64)
    old = memory(pixels).logits.softmax(1)
    new = memory.extend(2)(pixels).logits.softmax(1)
    torch.testing.assert_close(new[:, 0] + new[:, 2:].sum(1), old[:, 0])
    torch.testing.assert_close(new[:, 1], old[:, 1])


def test_it_is_kept_with_the_version(tmp_path) -> None:
    saved = speaking(8)
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
    trained = speaking(16)
    pixels = torch.rand(2, 3, 64, 64) * 255
    with torch.inference_mode():
        expected = trained(pixels).logits
        exact = prepare_for_inference(trained, "float32")(pixels).logits
        narrow = prepare_for_inference(trained, "bfloat16")(pixels).logits
    torch.testing.assert_close(exact, expected, rtol=1e-3, atol=1e-3)
    scale = float(expected.std())
    assert float((narrow - expected).abs().mean()) < 0.05 * scale
    assert np.mean((narrow.argmax(1) == expected.argmax(1)).numpy()) > 0.97


def test_it_learns_with_the_rest() -> None:
    trained = speaking(8).train()
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
