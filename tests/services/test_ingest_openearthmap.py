"""OpenEarthMap's few-shot set, on tiny files laid out like the original, and the protocol's tasks on it."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from folder_target import PREFIX, FolderTarget
from tiny_openearthmap import (
    BASE,
    QUERY,
    SUPPORT,
    base_ids,
    label,
    query_ids,
    support_ids,
    write_openearthmap,
)
from typer.testing import CliRunner

from icss_core.continual import IncrementalProtocol, read_protocol, split_tasks
from icss_core.errors import DatasetError
from icss_core.methods import get_dense_preset
from icss_core.raster.reader import open_mask
from icss_core.raster.windows import Window
from services.cli import app
from services.ingest import ingest_openearthmap
from services.ingest.check import CheckTable
from services.settings import environment_of
from services.tune.read_spec import read_spec


class Made:
    """A set that was ingested onto the disk."""

    def __init__(self, source, stored, phase="val"):
        self._target = FolderTarget(stored)
        self.dataset = ingest_openearthmap(self._target, source, PREFIX, phase=phase)
        table = self._target.path(f"{PREFIX}/check.json").read_bytes()
        self.warnings = CheckTable.model_validate_json(table).warnings
        self.scenes = {scene.name: scene for scene in self.dataset.scenes}

    def mask(self, name):
        with open_mask(self._target.path(f"{PREFIX}/{self.scenes[name].mask}")) as raster:
            return raster.read(Window(0, 0, raster.height, raster.width)).values[0]


@pytest.fixture
def source(tmp_path):
    return write_openearthmap(tmp_path / "published")


def test_labels_keep_their_ids_and_images_their_part(source, tmp_path):
    made = Made(source, tmp_path / "stored")
    assert made.dataset.classes.names == (
        "background", "tree", "rangeland", "bareland", "agric land type 1", "road type 1",
        "sea, lake, & pond", "building type 1", "road type 2", "river", "boat & ship", "agric land type 2",
    )  # fmt: skip
    assert [scene.name for scene in made.dataset.scenes_of("val")] == list(QUERY)
    assert len(made.dataset.scenes_of("train")) == len(BASE) + 20
    np.testing.assert_array_equal(made.mask("maputo_10"), base_ids())
    np.testing.assert_array_equal(made.mask("novel10_3"), support_ids(10))
    np.testing.assert_array_equal(made.mask("lohur_7"), query_ids())
    assert made.scenes["novel10_3"].labels == ("boat & ship",)
    assert made.warnings == ()
    assert "base 3 of 258, support 20 of 20, query 2 of 30" in made.dataset.notes


def test_the_protocol_learns_base_classes_densely_and_then_four_from_five_images_each(source, tmp_path):
    dataset = Made(source, tmp_path / "stored").dataset
    protocol = read_protocol("openearthmap-fewshot")
    labels = {scene.name: scene.labels for scene in dataset.scenes}
    manifest = split_tasks(dataset, protocol, labels)
    assert manifest.classes == (
        ("tree", "rangeland", "bareland", "agric land type 1", "road type 1", "sea, lake, & pond",
         "building type 1"),
        ("road type 2", "river", "boat & ship", "agric land type 2"),
    )  # fmt: skip
    assert manifest.scenes == (
        ("maputo_10", "lodzkie_8", "kujawsko-pomorskie_22"),
        (
            "novel8_0", "novel8_1", "novel8_2", "novel8_3", "novel8_4",
            "novel9_0", "novel9_1", "novel9_2", "novel9_3", "novel9_4",
            "novel10_0", "novel10_1", "novel10_2", "novel10_3", "novel10_4",
            "novel11_0", "novel11_1", "novel11_2", "novel11_3", "novel11_4",
        ),
    )  # fmt: skip
    disjoint = split_tasks(dataset, read_protocol("openearthmap-fewshot", "disjoint"), labels)
    assert disjoint.scenes == manifest.scenes
    score = protocol.score_of(dataset)
    assert [(group.weight, group.classes) for group in score.groups] == [
        (0.4, manifest.classes[0]),
        (0.6, manifest.classes[1]),
    ]


def test_the_test_phase_has_other_novel_classes_and_perhaps_no_labels_of_queries(tmp_path):
    published = write_openearthmap(tmp_path / "published", "test", query_labels=False)
    made = Made(published, tmp_path / "stored", "test")
    assert made.dataset.classes.names[8:] == (
        "vehicle & cargo-trailer", "parking space", "sports field", "building type 2",
    )  # fmt: skip
    assert made.dataset.scenes_of("val") == ()
    assert [(scene.name, scene.mask) for scene in made.dataset.scenes_of("test")] == [
        (name, None) for name in QUERY
    ]
    assert len(read_protocol("openearthmap-fewshot").classes_of(made.dataset)[1]) == 4
    for name in QUERY:
        label(published / "testset", name, query_ids())
    assert len(Made(published, tmp_path / "labelled", "test").dataset.scenes_of("val")) == len(QUERY)


def test_folders_may_lie_deeper_and_no_list_of_training_images_means_all(source, tmp_path):
    for part in ("trainset", "valset"):
        (source / "unpacked" / part).mkdir(parents=True)
        (source / part).rename(source / "unpacked" / part / part)
    (source / "lists").mkdir()
    (source / "val.json").rename(source / "lists" / "val.json")
    (source / "train.txt").unlink()
    train = Made(source, tmp_path / "stored").dataset.scenes_of("train")
    assert {scene.name for scene in train} == {*BASE, *(name for names in SUPPORT.values() for name in names)}


def test_classes_that_an_image_should_not_show_are_background_and_said(source, tmp_path):
    ids = support_ids(8)
    ids[:4], ids[-4:] = 1, 9
    label(source / "valset", "novel8_0", ids)
    label(source / "valset", "novel9_0", np.zeros_like(ids))
    more = base_ids()
    more[0] = 11
    label(source / "trainset", "maputo_10", more)
    made = Made(source, tmp_path / "stored")
    np.testing.assert_array_equal(made.mask("novel8_0"), support_ids(8))
    np.testing.assert_array_equal(made.mask("maputo_10"), base_ids())
    assert made.scenes["novel8_0"].labels == ("road type 2",)
    assert made.warnings == (
        "base image 'maputo_10' shows 'agric land type 2', which its label should not; read as background",
        "support image 'novel8_0' shows 'tree' and 'river', which its label should not; read as background",
        "support image 'novel9_0' is listed for 'river' and shows none of it",
    )


def unknown_id(source):
    ids = query_ids()
    ids[0, 0] = 12
    label(source / "valset", "lohur_7", ids)


def another_class(source):
    content = json.loads((source / "val.json").read_text())
    content["support_set"]["12"] = content["support_set"].pop("11")
    (source / "val.json").write_text(json.dumps(content))


def query_is_support(source):
    content = json.loads((source / "val.json").read_text())
    content["query_set"].append("novel8_0.tif")
    (source / "val.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda source: (source / "val.json").unlink(), r"no val\.json .*organisers' repository"),
        (lambda source: (source / "val.json").write_text("{"), "is not JSON"),
        (lambda source: (source / "val.json").write_text("{}"), "support_set: Field required"),
        (another_class, r"class ids \[8, 9, 10, 12\]; novel classes are 8 to 11"),
        (query_is_support, r"at once: \['novel8_0'\]"),
        (lambda source: (source / "valset").rename(source / "set"), "no folder valset"),
        (lambda source: (source / "trainset").rename(source / "set"), "no folder trainset"),
        (
            lambda source: (source / "valset/labels/lohur_7.tif").unlink(),
            r"lacks .*valset/labels/lohur_7\.tif",
        ),
        (
            lambda source: (source / "trainset/images/lodzkie_8.tif").unlink(),
            r"lacks .*images/lodzkie_8\.tif",
        ),
        (unknown_id, r"lohur_7.*mask values \[12\] are no class"),
    ],
)
def test_what_is_missing_or_unknown_is_named(source, tmp_path, spoil, fault):
    spoil(source)
    with pytest.raises(DatasetError, match=fault):
        Made(source, tmp_path / "stored")


def test_what_the_page_says_can_be_typed():
    text = (Path(__file__).parents[2] / "docs" / "openearthmap.md").read_text()
    (example,) = re.findall(r"^```yaml\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert IncrementalProtocol.model_validate(yaml.safe_load(example)).score.key == "score_ranked"
    assert read_protocol("openearthmap-fewshot").score.key in text
    assert read_spec(Path(__file__).parents[2] / re.findall(r"services\.tune (\S+)", text)[0]).cases()
    (words,) = [line.split() for line in text.splitlines() if "services.continual" in line]
    given = dict(itertools.pairwise(words))
    read_protocol(given["--protocol"])
    get_dense_preset(given["--preset"])
    for command in re.findall(r"icss (ingest \w+)", text):
        assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0


def test_the_command_line_has_both_phases(store_settings, source):
    runner = CliRunner(env=environment_of(store_settings) | {"COLUMNS": "200"})
    done = runner.invoke(app, ["ingest", "openearthmap", str(source), "s3://icss/data/openearthmap"])
    assert done.exit_code == 0, done.output
    assert "25 scenes (23 train, 2 val)" in done.output
    refused = runner.invoke(
        app, ["ingest", "openearthmap", str(source), "s3://icss/data/oem-test", "--phase", "test"]
    )
    assert refused.exit_code == 1
    assert "test.json" in refused.output
