import json
import unicodedata

import numpy as np
import pytest

from icss_core.dataset import Dataset, Scene
from icss_core.errors import DatasetError, TooManyClassesError
from icss_core.labels import ClassInfo, LabelSpace

TEXT = """
name: villages
classes:
  - {name: land, colour: [132, 41, 246]}
  - {name: building, colour: [60, 16, 152]}
  - {name: road, colour: [110, 193, 228]}
scenes:
  - {name: a, image: images/a.tif, mask: masks/a.tif, split: train, labels: [building]}
  - {name: b, image: "s3://elsewhere/b.tif", split: val}
"""


def test_yaml_round_trip_keeps_everything():
    dataset = Dataset.from_yaml(TEXT, base="s3://bucket/villages")
    again = Dataset.from_yaml(dataset.to_yaml(), base="s3://bucket/villages")
    assert again == dataset
    assert dataset.classes.names == ("land", "building", "road")
    assert dataset.scenes[0].labels == ("building",)
    assert dataset.scenes[1].mask is None


def test_addresses_are_relative_to_the_file_unless_whole():
    dataset = Dataset.from_yaml(TEXT, base="s3://bucket/villages/")
    assert dataset.address(dataset.scenes[0].image) == "s3://bucket/villages/images/a.tif"
    assert dataset.address(dataset.scenes[1].image) == "s3://elsewhere/b.tif"


def test_manifest_hash_depends_on_content_not_on_place():
    here = Dataset.from_yaml(TEXT, base="s3://bucket/here")
    there = Dataset.from_yaml(TEXT, base="/there")
    changed = Dataset.from_yaml(TEXT.replace("split: val", "split: test"))
    assert here.manifest_hash == there.manifest_hash
    assert here.manifest_hash != changed.manifest_hash
    assert len(here.manifest_hash) == 64


def test_manifest_hash_of_data_sets_without_objectness_is_what_it_always_was():
    plain = Dataset.from_yaml(TEXT)
    assert plain.manifest_hash == "bf73267fce37cc20fe21e04cb3bc444a1846934b140805fc1037b0b17bf7aa3c"
    more = Dataset.from_yaml(TEXT.replace("mask: masks/a.tif", "mask: masks/a.tif, objectness: o/a.tif"))
    assert more.scenes[0].maps == {"objectness": "o/a.tif"}
    assert Dataset.from_yaml(more.to_yaml()) == more
    assert more.manifest_hash != plain.manifest_hash
    assert "objectness" not in plain.to_yaml()


def test_sizes_are_kept_but_are_no_part_of_the_manifest_hash():
    plain = Dataset.from_yaml(TEXT)
    sized = Dataset.from_yaml(TEXT.replace("mask: masks/a.tif", "mask: masks/a.tif, height: 40, width: 60"))
    assert [scene.size for scene in sized.scenes] == [(40, 60), None]
    assert Dataset.from_yaml(sized.to_yaml()) == sized
    assert sized.manifest_hash == plain.manifest_hash
    with pytest.raises(DatasetError, match="scene 'a' needs both height and width"):
        Dataset.from_yaml(TEXT.replace("mask: masks/a.tif", "height: 40"))


def test_manifest_hash_covers_the_pixels_by_checksum():
    def dataset(checksum):
        return Dataset(
            name="one",
            classes=LabelSpace(classes=(ClassInfo(name="background", colour=(0, 0, 0)),)),
            scenes=(Scene(name="a", image="a.tif", checksum=checksum),),
        )

    assert dataset("1" * 64).manifest_hash != dataset("2" * 64).manifest_hash


def test_scenes_of_keeps_the_files_order():
    dataset = Dataset.from_yaml(TEXT)
    assert [scene.name for scene in dataset.scenes_of("train")] == ["a"]
    assert [scene.name for scene in dataset.scenes_of("val")] == ["b"]
    assert dataset.scenes_of("test") == ()


def test_select_makes_the_rest_background():
    dataset = Dataset.from_yaml(TEXT)
    assert dataset.select(["road", "Building"]).names == ("background", "road", "building")
    mask = np.array([[0, 1, 2, 255, 7]], dtype=np.uint8)
    assert dataset.lookup(["road"])[mask].tolist() == [[0, 0, 1, 255, 255]]
    assert dataset.lookup(["road", "building"])[mask].tolist() == [[0, 2, 1, 255, 255]]
    # a task shows the classes before it as background
    assert dataset.lookup(["road", "building"], hidden=["road"])[mask].tolist() == [[0, 2, 0, 255, 255]]
    assert dataset.lookup(["road"], other_label=255)[mask].tolist() == [[0, 255, 1, 255, 255]]
    sparse = dataset.lookup(["road", "building"], hidden=["road"], other_label=255)
    assert sparse[mask].tolist() == [[0, 2, 255, 255, 255]]


def test_a_model_of_255_classes_beside_the_background_is_refused():
    classes = [{"name": f"class {i}", "colour": [1, 2, 3]} for i in range(255)]
    scenes = [{"name": "a", "image": "a.tif", "mask": "b.tif", "split": "train"}]
    dataset = Dataset.model_validate({"name": "many", "classes": classes, "scenes": scenes})
    names = dataset.classes.names
    assert dataset.select(names[1:]).names == ("background", *names[1:])
    for make in (dataset.select, dataset.lookup):
        with pytest.raises(TooManyClassesError, match="256 classes; a model has at most 255"):
            make(names)
    with pytest.raises(DatasetError, match=r"classes.*255"):
        Dataset.from_yaml(
            json.dumps(
                {"name": "many", "classes": [*classes, {"name": "x", "colour": [0, 0, 0]}], "scenes": scenes}
            )
        )


def test_classes_are_found_by_every_spelling():
    decomposed = unicodedata.normalize("NFD", "hôpital")
    town = TEXT.replace("name: building", "name: Hôpital").replace("[building]", f"[{decomposed}]")
    dataset = Dataset.from_yaml(town)
    assert dataset.select([decomposed]).names == ("background", "Hôpital")
    assert dataset.lookup([f" {decomposed}"])[1] == 1
    assert dataset.lookup(["hôpital", "road"], hidden=[decomposed])[:3].tolist() == [0, 0, 2]
    assert dataset.scenes[0].may_show("HÔPITAL")
    assert not dataset.scenes[0].may_show("road")
    assert dataset.scenes[1].may_show("road")
    with pytest.raises(DatasetError, match="named twice"):
        dataset.select(["hôpital", decomposed])
    with pytest.raises(DatasetError, match="class 0 of every model"):
        Dataset.from_yaml(TEXT.replace("name: land", "name: Background")).select(["background "])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not YAML"),
        ("- a", "must be a mapping"),
        ("name: x", "classes"),
        (TEXT.replace("split: val", "split: valid"), "scenes.1.split"),
        (TEXT.replace("images/a.tif", "../a.tif"), "leaves the data set's folder"),
        (TEXT.replace("mask: masks", "objectness: ../masks"), "leaves the data set's folder"),
        (TEXT.replace("name: b,", "name: a,"), "two scenes are named 'a'"),
        (TEXT.replace("[building]", "[house]"), r"no class of the set: \['house'\]"),
        (TEXT.replace("name: road", "name: Building"), "class names must differ"),
        (TEXT + "licence: CC0\n", "licence"),
    ],
)
def test_faults_are_named(text, says):
    with pytest.raises(DatasetError, match=says):
        Dataset.from_yaml(text, base="s3://bucket/villages")


def test_unknown_or_repeated_class_is_refused():
    dataset = Dataset.from_yaml(TEXT)
    with pytest.raises(DatasetError, match="unknown class 'bridge'"):
        dataset.select(["bridge"])
    with pytest.raises(DatasetError, match="named twice"):
        dataset.lookup(["road", "ROAD"])
    town = Dataset.from_yaml(TEXT.replace("name: land", "name: Background"))
    with pytest.raises(DatasetError, match="class 0 of every model"):
        town.select(["road", "background"])
