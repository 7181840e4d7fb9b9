from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from same_weights import same_weights

from icss_core.errors import InvalidParameterError, ModelFormatError
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.networks.model_folder import ModelCard, load_model, save_model
from icss_core.networks.normalisation import Normalisation
from icss_core.networks.segmenter import Architecture, Segmenter
from services.errors import ConflictError, ModelNotFoundError, VersionNotFoundError
from services.mlflow_calls import client_for
from services.registry import MEMORY, UPDATED, Registry
from services.tracking import PRETRAINING, Tracking

if TYPE_CHECKING:
    from pathlib import Path

SPACE = LabelSpace(
    classes=(ClassInfo(name="background", colour=(0, 0, 0)), ClassInfo(name="road", colour=(9, 9, 9)))
)
NORMALISATION = Normalisation(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))


@pytest.fixture(scope="module")
def registry(mlflow_settings):
    return Registry(mlflow_settings)


@pytest.fixture
def new_run(mlflow_settings):
    tracking = Tracking(mlflow_settings)
    return lambda: tracking.create_run(PRETRAINING, name="registry test", tags={})


@pytest.fixture
def make_folder(tmp_path):
    """A function that writes a small model folder; another seed, other weights."""
    made = iter(range(100))

    def make(seed: int = 0, parent: str | None = None) -> Path:
        torch.manual_seed(seed)
        architecture = Architecture(encoder="tu-test_resnet", n_classes=2)
        card = ModelCard(
            architecture=architecture, normalisation=NORMALISATION, label_space=SPACE, parent=parent
        )
        return save_model(
            tmp_path / f"model{next(made)}", Segmenter(architecture, NORMALISATION).eval(), card
        )

    return make


def test_a_chain_of_versions_with_lineage_and_aliases(registry, new_run, make_folder) -> None:
    first = registry.register("chained-town", make_folder(), run_id=new_run())
    registry.set_alias("chained-town", MEMORY, first)
    run_id = new_run()
    folder = make_folder(1, parent=f"chained-town:{first}")
    second = registry.register("chained-town", folder, run_id=run_id, parent=first, tags={"class": "roof"})
    registry.set_alias("chained-town", UPDATED, second)
    assert (first, second) == (1, 2)
    assert registry.resolve("chained-town", MEMORY).version == 1
    found = registry.resolve("chained-town", UPDATED)
    assert (found.version, found.parent, found.run_id, found.tags) == (2, 1, run_id, {"class": "roof"})
    assert found.card.parent == "chained-town:1"
    assert found.card.label_space == SPACE
    assert registry.resolve("chained-town", 2) == registry.resolve("chained-town", "2") == found
    description = registry.describe("chained-town")
    assert [version.version for version in description.versions] == [2, 1]
    assert description.aliases == {MEMORY: 1, UPDATED: 2}
    assert "chained-town" in registry.names()


def test_accepting_and_undoing_move_one_alias_and_touch_no_version(registry, new_run, make_folder) -> None:
    for seed in (0, 1):
        registry.register("moves", make_folder(seed), run_id=new_run())
    registry.set_alias("moves", MEMORY, 1)
    before = registry.describe("moves").versions
    registry.set_alias("moves", MEMORY, 2)
    assert registry.resolve("moves", MEMORY).version == 2
    assert registry.aliases("moves") == {MEMORY: 2}
    registry.set_alias("moves", MEMORY, 1)
    after = registry.describe("moves").versions
    assert [v.checksums for v in before] == [v.checksums for v in after]
    assert registry.resolve("moves", MEMORY).version == 1


def test_what_is_fetched_is_what_was_registered_and_is_fetched_once(registry, new_run, make_folder) -> None:
    folder = make_folder(3)
    version = registry.register("fetched", folder, run_id=new_run())
    local = registry.fetch("fetched", version)
    assert sorted(path.name for path in local.iterdir()) == ["model.json", "weights.safetensors"]
    assert same_weights(load_model(local)[0], load_model(folder)[0])
    stamp = (local / "weights.safetensors").stat().st_mtime_ns
    assert registry.fetch("fetched", version) == local
    assert (local / "weights.safetensors").stat().st_mtime_ns == stamp
    assert not list(local.parent.glob(".partial*"))


def test_registering_twice_gives_the_same_version(registry, new_run, make_folder) -> None:
    run_id, folder = new_run(), make_folder(4)
    assert registry.register("registered-twice", folder, run_id=run_id) == registry.register(
        "registered-twice", folder, run_id=run_id
    )
    assert len(registry.describe("registered-twice").versions) == 1
    with pytest.raises(ConflictError, match="already produced version 1"):
        registry.register("registered-twice", make_folder(5), run_id=run_id)
    assert len(registry.describe("registered-twice").versions) == 1


def test_changed_artefacts_are_not_loaded(registry, mlflow_settings, new_run, make_folder) -> None:
    run_id = new_run()
    version = registry.register("tampered", make_folder(6), run_id=run_id)
    client_for(mlflow_settings).log_artifacts(run_id, str(make_folder(7)), "model")
    with pytest.raises(ModelFormatError, match=r"weights\.safetensors of 'tampered' version 1"):
        registry.fetch("tampered", version)


@pytest.mark.parametrize("extra", ["run.py", "weights.pt", "other.safetensors"])
def test_a_folder_with_anything_else_in_it_is_refused(registry, new_run, make_folder, extra) -> None:
    folder = make_folder(8)
    (folder / extra).write_bytes(b"x")
    with pytest.raises(ModelFormatError, match="and nothing else"):
        registry.register("refused", folder, run_id=new_run())
    with pytest.raises(ModelNotFoundError):
        registry.describe("refused")


def test_a_damaged_or_missing_card_is_refused(registry, new_run, make_folder, tmp_path) -> None:
    with pytest.raises(ModelFormatError):
        registry.register("refused", tmp_path / "nothing", run_id=new_run())
    folder = make_folder(9)
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, "format_version": 99}))
    with pytest.raises(ModelFormatError):
        registry.register("refused", folder, run_id=new_run())


def test_the_parent_must_exist_and_be_the_one_in_the_card(registry, new_run, make_folder) -> None:
    registry.register("parents", make_folder(10), run_id=new_run())
    with pytest.raises(VersionNotFoundError, match="no version 7"):
        registry.register("parents", make_folder(11, parent="parents:7"), run_id=new_run(), parent=7)
    with pytest.raises(ModelFormatError, match="names 'other:1' as its parent, not parents:1"):
        registry.register("parents", make_folder(11, parent="other:1"), run_id=new_run(), parent=1)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a:b", "a@b", "a b", "-a", "x" * 65, "a'b"])
def test_names_that_could_be_paths_or_queries_are_refused(registry, name) -> None:
    with pytest.raises(InvalidParameterError, match="is not a model name"):
        registry.resolve(name, 1)


@pytest.mark.parametrize("run_id", ["", "x' or name = 'y", "../run", "0" * 31 + "\n", "0" * 33])
def test_run_ids_that_could_be_paths_or_queries_are_refused(registry, make_folder, run_id) -> None:
    with pytest.raises(InvalidParameterError, match="is not the id of an MLflow run"):
        registry.register("refused", make_folder(13), run_id=run_id)


def test_unknown_models_versions_and_aliases_are_named(registry, new_run, make_folder) -> None:
    with pytest.raises(ModelNotFoundError, match="'nobody'"):
        registry.resolve("nobody", 1)
    registry.register("known", make_folder(12), run_id=new_run())
    with pytest.raises(VersionNotFoundError, match="no version 9"):
        registry.resolve("known", 9)
    with pytest.raises(VersionNotFoundError, match=r"no alias 'memory'; it has \[\]"):
        registry.resolve("known", MEMORY)
    with pytest.raises(VersionNotFoundError):
        registry.set_alias("known", MEMORY, 9)
    with pytest.raises(InvalidParameterError, match="not an alias"):
        registry.set_alias("known", "v1", 1)


def test_models_of_others_on_the_same_server_are_not_ours(registry, mlflow_settings) -> None:
    client_for(mlflow_settings).create_registered_model("somebody-elses")
    assert "somebody-elses" not in registry.names()
    with pytest.raises(ModelNotFoundError, match="not a model of this service"):
        registry.resolve("somebody-elses", 1)
