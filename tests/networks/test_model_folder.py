"""Model files: no pickle, nothing overwritten, damage noticed."""

import json

import pytest
import torch

from icss_core.errors import ModelFormatError
from icss_core.losses import Prototypes
from icss_core.networks import Architecture, ModelCard, Segmenter, identity, load_model, save_model
from icss_core.networks.model_folder import load_importances, load_prototypes, read_card
from tests.networks.label_spaces import label_space


@pytest.fixture
def version(tmp_path):
    torch.manual_seed(0)
    network = Segmenter(Architecture(encoder="resnet18", n_classes=2), identity(3))
    card = ModelCard(
        architecture=network.architecture,
        normalisation=network.normalisation,
        label_space=label_space(2),
        parent="towns:3",
        parameters={"lr": 1e-4},
    )
    return save_model(tmp_path / "v", network, card), network, card


def test_folder_holds_two_files_and_no_pickle(version):
    folder, _, card = version
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "weights.safetensors"]
    assert (folder / "weights.safetensors").read_bytes()[8:9] == b"{"  # safetensors: length, then JSON
    assert json.loads((folder / "model.json").read_text())["parent"] == card.parent


def test_importances_travel_with_the_weights(version, tmp_path):
    folder, network, card = version
    assert load_importances(folder) == {}
    gathered = {
        part: {name: torch.rand(one.shape) for name, one in network.named_parameters()}
        for part in ("fisher", "score")
    }
    other = save_model(tmp_path / "w", network, card, importances=gathered)
    kept = read_card(other)
    assert kept.files == {"model.json", "weights.safetensors", "importances.safetensors"}
    assert {path.name for path in other.iterdir()} == kept.files
    found = load_importances(other)
    assert found.keys() == gathered.keys()
    for part, tensors in gathered.items():
        assert all(torch.equal(found[part][name], one) for name, one in tensors.items())
    (other / "importances.safetensors").unlink()
    with pytest.raises(ModelFormatError, match=r"importances.safetensors is missing"):
        load_importances(other)


def test_prototypes_travel_with_the_weights(version, tmp_path):
    folder, network, card = version
    assert load_prototypes(folder) is None
    kept = Prototypes(torch.rand(card.architecture.n_classes, 7), torch.arange(card.architecture.n_classes))
    other = save_model(tmp_path / "p", network, card, prototypes=kept)
    assert read_card(other).files == {"model.json", "weights.safetensors", "prototypes.safetensors"}
    found = load_prototypes(other)
    assert torch.equal(found.means, kept.means)
    assert torch.equal(found.counts, kept.counts)
    (other / "prototypes.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelFormatError, match=r"prototypes.safetensors is missing or damaged"):
        load_prototypes(other)


def test_versions_are_never_overwritten(version):
    folder, network, card = version
    with pytest.raises(ModelFormatError, match="never overwritten"):
        save_model(folder, network, card)


def test_missing_or_damaged_files_are_named(version, tmp_path):
    folder, _, _ = version
    with pytest.raises(ModelFormatError, match=r"has no model\.json"):
        load_model(tmp_path)
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelFormatError, match="missing or damaged"):
        load_model(folder)


def test_weights_of_another_network_are_refused(version):
    folder, _, _ = version
    content = json.loads((folder / "model.json").read_text())
    content["architecture"]["encoder"] = "resnet34"
    (folder / "model.json").write_text(json.dumps(content))
    with pytest.raises(ModelFormatError, match="does not fit"):
        load_model(folder)


def test_other_format_versions_and_class_counts_are_refused(version):
    folder, _, card = version
    content = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**content, "format_version": 2}))
    with pytest.raises(ModelFormatError, match="format 1"):
        load_model(folder)
    with pytest.raises(ValueError, match="2 logits for the 3 classes"):
        ModelCard(
            architecture=card.architecture, normalisation=card.normalisation, label_space=label_space(3)
        )
