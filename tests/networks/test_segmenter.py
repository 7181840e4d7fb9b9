"""Networks: one battery for every architecture, as each must do the same things."""

import pytest
import torch
from same_weights import same_weights

from icss_core.data.batch import Batch
from icss_core.errors import BandMismatchError, InvalidParameterError, TooManyClassesError
from icss_core.networks import Architecture, Normalisation, Segmenter, identity, load_model, save_model
from icss_core.networks.model_folder import ModelCard
from icss_core.training import Fit, Optimisation, SegmentationLearner
from tests.batch_norms import batch_norms_of
from tests.networks.label_spaces import label_space

DECODERS = ["linknet", "unet", "deeplabv3", "pspnet", "segformer"]


def build(decoder: str, *, bands: int = 3, n_classes: int = 2) -> Segmenter:
    torch.manual_seed(0)
    architecture = Architecture(decoder=decoder, encoder="resnet18", in_channels=bands, n_classes=n_classes)
    return Segmenter(architecture, identity(bands)).eval()


@pytest.mark.parametrize("decoder", DECODERS)
class TestEveryArchitecture:
    def test_forward_gives_logits_at_full_size_and_backward_reaches_the_stem(self, decoder):
        network = build(decoder, bands=5, n_classes=3)
        output = network(torch.rand(2, 5, 64, 96))
        assert output.logits.shape == (2, 3, 64, 96)
        assert output.logits.dtype == torch.float32
        assert output.features.shape[0] == output.decoder_features.shape[0] == 2
        output.logits.square().sum().backward()
        first = next(network.parameters())
        assert first.grad is not None
        assert first.grad.abs().sum() > 0

    def test_logits_are_the_head_on_decoder_features(self, decoder):
        network = build(decoder)
        output = network(torch.rand(1, 3, 64, 64))
        torch.testing.assert_close(network.body.segmentation_head(output.decoder_features), output.logits)

    def test_logits_equal_the_plain_library_model(self, decoder):
        network = build(decoder)
        pixels = torch.rand(1, 3, 64, 64)
        torch.testing.assert_close(network(pixels).logits, network.body(pixels))

    def test_extension_keeps_old_order_and_background_share(self, decoder):
        memory = build(decoder, n_classes=3)
        pixels = torch.rand(1, 3, 64, 64)
        before = memory(pixels).logits
        grown = memory.extend(2)
        after = grown(pixels).logits
        assert (memory.n_classes, grown.n_classes, grown.architecture.n_classes) == (3, 5, 5)
        torch.testing.assert_close(after[:, 1:3], before[:, 1:3])
        split = after.softmax(1)[:, [0, 3, 4]].sum(1)
        if grown.body.segmentation_head[1].__class__.__name__ == "Identity":
            torch.testing.assert_close(split, before.softmax(1)[:, 0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(memory(pixels).logits, before)

    def test_files_round_trip(self, decoder, tmp_path):
        network = build(decoder)
        card = ModelCard(
            architecture=network.architecture,
            normalisation=network.normalisation,
            label_space=label_space(2),
        )
        save_model(tmp_path / "version", network, card)
        loaded, read = load_model(tmp_path / "version")
        assert read == card
        assert same_weights(network, loaded)
        pixels = torch.rand(1, 3, 64, 64)
        torch.testing.assert_close(loaded(pixels).logits, network(pixels).logits, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int16, torch.float32, torch.float64])
def test_raw_values_of_any_dtype_are_normalised_inside(dtype):
    statistics = Normalisation(mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0))
    torch.manual_seed(0)
    network = Segmenter(Architecture(encoder="resnet18", n_classes=2), statistics).eval()
    raw = torch.randint(0, 100, (1, 3, 32, 32))
    by_hand = (raw.float() - torch.tensor([10.0, 20, 30])[:, None, None]) / torch.tensor([2.0, 4, 8])[
        :, None, None
    ]
    torch.testing.assert_close(network(raw.to(dtype)).logits, network.body(by_hand))


def test_wrong_bands_and_sizes_are_named():
    network = build("linknet")
    with pytest.raises(BandMismatchError, match="takes 3 bands, not 4"):
        network(torch.rand(1, 4, 64, 64))
    with pytest.raises(InvalidParameterError, match="multiples of 32, not 65 x 64"):
        network(torch.rand(1, 3, 65, 64))


def test_unknown_encoder_and_mismatched_statistics_are_refused():
    with pytest.raises(InvalidParameterError, match="nonsense"):
        Segmenter(Architecture(encoder="nonsense", n_classes=2), identity(3))
    with pytest.raises(BandMismatchError):
        Segmenter(Architecture(encoder="resnet18", n_classes=2), identity(4))


def test_replace_draws_all_rows_anew_and_random_keeps_the_old_ones():
    memory = build("linknet")
    random = memory.extend(1, init="random", generator=torch.Generator().manual_seed(1))
    replaced = memory.extend(1, init="replace", generator=torch.Generator().manual_seed(1))
    assert torch.equal(random.classifier.weight[:2], memory.classifier.weight)
    assert not torch.equal(replaced.classifier.weight[:2], memory.classifier.weight)
    again = memory.extend(1, init="replace", generator=torch.Generator().manual_seed(1))
    assert torch.equal(replaced.classifier.weight, again.classifier.weight)
    bound = memory.classifier.in_channels**-0.5
    assert replaced.classifier.weight.abs().max() <= bound
    with pytest.raises(InvalidParameterError, match="at least 1"):
        memory.extend(0)
    with pytest.raises(TooManyClassesError, match="at most 255"):
        memory.extend(254)


@pytest.mark.parametrize("stride", [8, 16])
def test_dilated_encoders_have_the_stride_that_was_asked_for(stride):
    architecture = Architecture(
        decoder="deeplabv3", encoder="resnet18", n_classes=2, encoder_output_stride=stride
    )
    network = Segmenter(architecture, identity(3)).eval()
    output = network(torch.rand(1, 3, 64, 64), with_levels=True)
    assert output.features.shape[2:] == (64 // stride, 64 // stride)
    assert output.logits.shape[2:] == (64, 64)
    assert [one.shape[2] for one in output.levels[:3]] == [32, 16, 8]
    assert output.levels[-1] is output.features


@pytest.fixture(scope="module")
def grouped() -> Segmenter:
    """MiB's network for Cityscapes; 87 million weights, so built once."""
    torch.manual_seed(0)
    architecture = Architecture(
        decoder="deeplabv3", encoder="resnext101_32x8d", n_classes=3, encoder_output_stride=16
    )
    return Segmenter(architecture, identity(3))


@pytest.mark.parametrize("batch_norm", ["train", "all"])
def test_a_resnext_of_stride_16_learns_whatever_its_batch_norms_do(grouped, batch_norm):
    optimisation = Optimisation(
        optimiser="sgd", lr=1e-3, iterations=1, batch_norm=batch_norm, precision="float32"
    )
    seen = []

    def objective(output, batch):
        seen.append(output)
        return {"cross_entropy": torch.nn.functional.cross_entropy(output.logits, batch.labels)}

    grouped.requires_grad_().zero_grad()
    batch = Batch(pixels=torch.rand(2, 3, 64, 64), labels=torch.randint(0, 3, (2, 64, 64)))
    Fit(SegmentationLearner(grouped, objective, lambda _: batch), optimisation).run()
    (output,) = seen
    assert output.features.shape == (2, 2048, 64 // 16, 64 // 16)
    assert output.logits.shape == (2, 3, 64, 64)
    assert [one.shape[2] for one in output.levels] == [32, 16, 8, 4, 4]
    norms = {id(one) for module in batch_norms_of(grouped) for one in module.parameters()}
    for one in grouped.parameters():
        held = batch_norm == "all" and id(one) in norms
        assert one.grad is None if held else torch.isfinite(one.grad).all()
    assert next(grouped.parameters()).grad.abs().sum() > 0
    assert grouped.body.encoder.layer4[-1].conv2.groups == 32
    assert grouped.body.encoder.layer4[-1].conv2.dilation == (2, 2)


def test_a_stride_is_refused_where_the_encoder_is_not_dilated():
    with pytest.raises(InvalidParameterError, match="encoder_output_stride"):
        Segmenter(
            Architecture(decoder="linknet", encoder="resnet18", n_classes=2, encoder_output_stride=16),
            identity(3),
        )


def test_levels_come_in_training_or_where_they_are_asked_for():
    network = build("linknet")
    pixels = torch.rand(1, 3, 64, 64)
    assert network(pixels).levels == ()
    assert [one.shape[2] for one in network(pixels, with_levels=True).levels] == [32, 16, 8, 4, 2]
    assert len(network.train()(torch.rand(2, 3, 64, 64)).levels) == 5
