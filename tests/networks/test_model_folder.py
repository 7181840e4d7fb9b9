"""Model files: no pickle, nothing overwritten, damage noticed."""

import json

import pytest
import torch

from icss_core.errors import ModelFormatError
from icss_core.networks import Architecture, ModelCard, Segmenter, identity, load_model, save_model
from icss_core.networks.model_folder import load_artefact, read_card
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


def test_artefacts_travel_with_the_weights(version, tmp_path):
    folder, network, card = version
    assert load_artefact(folder, "prototypes") is None
    kept = {
        "prototypes": {"means": torch.rand(2, 7), "counts": torch.arange(2)},
        "importances": {f"fisher/{name}": torch.rand(one.shape) for name, one in network.named_parameters()},
    }
    other = save_model(tmp_path / "w", network, card, artefacts=kept)
    assert read_card(other).artefacts == {name: f"{name}.safetensors" for name in kept}
    assert {path.name for path in other.iterdir()} == read_card(other).files
    for name, tensors in kept.items():
        found = load_artefact(other, name)
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[key], one) for key, one in tensors.items())
    (other / "prototypes.safetensors").write_bytes(b"no tensors")
    (other / "importances.safetensors").unlink()
    for name in kept:
        with pytest.raises(ModelFormatError, match=rf"{name}.safetensors is missing or damaged"):
            load_artefact(other, name)


def test_a_card_names_no_file_outside_its_folder(version):
    _, _, card = version
    with pytest.raises(ValueError, match=r"must be NAME\.safetensors"):
        ModelCard.model_validate(card.model_dump() | {"artefacts": {"prototypes": "../../etc/passwd"}})


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
