"""Sets of natural images, on tiny files laid out like the originals."""

import json

import numpy as np
import pytest
from PIL import Image
from scenes_in_store import pixels_of, stored
from typer.testing import CliRunner

from icss_core.continual import read_protocol
from icss_core.errors import DatasetError, InvalidParameterError
from services.cli import app
from services.ingest import ingest_ade20k, ingest_cityscapes, ingest_voc
from services.ingest.cityscapes import CITYSCAPES_CLASSES
from services.ingest.voc import VOC_CLASSES, point_mask, scribble_mask
from services.settings import environment_of

HEIGHT, WIDTH = 40, 60
RNG = np.random.default_rng(0)


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)).save(path)
    return path


def indices(path, mask, palette=None):
    """A PNG of indices, with a palette as VOC's are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = Image.fromarray(mask.astype(np.uint8), mode="P" if palette else "L")
    if palette:
        drawn.putpalette([channel for colour in palette for channel in colour])
    drawn.save(path)


def mask_of(storage, dataset, name):
    (scene,) = (scene for scene in dataset.scenes if scene.name == name)
    return pixels_of(storage, dataset.address(scene.mask))[0][0]


# Pascal VOC


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    """Two images to train on, one more with augmented masks, one to validate on."""
    folder = tmp_path_factory.mktemp("voc")
    root = folder / "VOCdevkit" / "VOC2012"
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_000032\n2007_000039\n")
    (lists / "val.txt").write_text("2007_000033\n")
    masks = {}
    for name in ("2007_000032", "2007_000033", "2007_000039", "2008_000002"):
        picture(root / "JPEGImages" / f"{name}.jpg")
        mask = RNG.integers(0, 21, (HEIGHT, WIDTH))
        mask[0] = 255
        masks[name] = mask
        if not name.startswith("2008"):
            indices(root / "SegmentationClass" / f"{name}.png", mask, VOC_CLASSES.colours)
        indices(root / "SegmentationClassAug" / f"{name}.png", (mask + 1) % 21)
    return folder, masks


def test_voc_with_its_own_masks(storage, voc):
    folder, masks = voc
    dataset = ingest_voc(storage, folder, "s3://icss/voc/plain", augmented=False)
    assert stored(storage, dataset) == dataset
    assert [(scene.name, scene.split) for scene in dataset.scenes] == [
        ("2007_000032", "train"),
        ("2007_000039", "train"),
        ("2007_000033", "val"),
    ]
    for name in ("2007_000032", "2007_000033"):
        np.testing.assert_array_equal(mask_of(storage, dataset, name), masks[name])
    for name in ("voc-15-5", "voc-19-1"):
        assert sum(map(len, read_protocol(name).classes_of(dataset))) == 20


def test_augmented_masks_train_on_all_images_but_those_of_val(storage, voc):
    folder, masks = voc
    dataset = ingest_voc(storage, folder, "s3://icss/voc/augmented")
    assert [scene.name for scene in dataset.scenes_of("train")] == [
        "2007_000032",
        "2007_000039",
        "2008_000002",
    ]
    np.testing.assert_array_equal(mask_of(storage, dataset, "2008_000002"), (masks["2008_000002"] + 1) % 21)
    np.testing.assert_array_equal(mask_of(storage, dataset, "2007_000033"), masks["2007_000033"])


def test_colours_are_the_sets_own():
    assert VOC_CLASSES.colours[:5] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))
    assert VOC_CLASSES.colours[15] == (192, 128, 128)


def test_points_make_sparse_masks_and_leave_unclicked_images_out(storage, voc, tmp_path):
    folder, masks = voc
    clicks = [{"x": 5, "y": 7, "cls": 15, "rank": 1}, {"x": 59, "y": 39, "cls": 3, "rank": 2}]
    beyond = {"x": WIDTH, "y": 2, "cls": 1, "rank": 1}
    points = tmp_path / "points.json"
    points.write_text(json.dumps({"2007_000032": [*clicks, beyond], "2007_000039": []}))
    dataset = ingest_voc(
        storage, folder, "s3://icss/voc/points", augmented=False, supervision="points", annotations=points
    )
    (train,) = dataset.scenes_of("train")
    assert train.labels == ("bird", "person")
    found = mask_of(storage, dataset, "2007_000032")
    assert (found[7, 5], found[39, 59], (found != 255).sum()) == (15, 3, 2)
    np.testing.assert_array_equal(mask_of(storage, dataset, "2007_000033"), masks["2007_000033"])
    assert "1 images" in dataset.notes
    with pytest.raises(DatasetError, match="classes are 1 to 20"):
        point_mask([{"x": 1, "y": 1, "cls": 21}], 5, 5)
    with pytest.raises(DatasetError, match="no click with x, y and cls"):
        point_mask([{"x": 1, "cls": 2}], 5, 5)


SCRIBBLE = """<annotation><filename>2007_000032.jpg</filename>
<size><width>{width}</width><height>{height}</height></size>
<polygon><tag>{tag}</tag><point><X>10</X><Y>20</Y></point><point><X>40</X><Y>20</Y></point></polygon>
<polygon><tag>background</tag><point><X>2</X><Y>2</Y></point><point><X>2</X><Y>12</Y></point></polygon>
</annotation>"""


def test_scribbles_are_lines_of_their_class(storage, voc, tmp_path):
    (tmp_path / "2007_000032.xml").write_text(SCRIBBLE.format(width=WIDTH, height=HEIGHT, tag="sheep"))
    dataset = ingest_voc(
        storage,
        voc[0],
        "s3://icss/voc/scribbles",
        augmented=False,
        supervision="scribbles",
        annotations=tmp_path,
    )
    assert [scene.name for scene in dataset.scenes_of("train")] == ["2007_000032"]
    found = mask_of(storage, dataset, "2007_000032")
    assert (found[19:22, 12:39] == 17).all()
    assert (found[3:11, 2] == 0).all()
    assert set(np.unique(found)) == {0, 17, 255}
    assert (found == 17).sum() < 31 * 5
    path = tmp_path / "2007_000032.xml"
    path.write_text(SCRIBBLE.format(width=WIDTH, height=HEIGHT, tag="plane"))
    assert (scribble_mask(path, HEIGHT, WIDTH)[19:22, 12:39] == 1).all()
    for text, fault in (
        (SCRIBBLE.format(width=9, height=HEIGHT, tag="sheep"), "of 40 x 9 pixels, its image of 40 x 60"),
        (SCRIBBLE.format(width=WIDTH, height=HEIGHT, tag="lamb"), "'lamb' is no class"),
        ("<annotation>", "no file of scribbles"),
    ):
        path.write_text(text)
        with pytest.raises(DatasetError, match=fault):
            scribble_mask(path, HEIGHT, WIDTH)


def test_what_a_download_lacks_is_named(storage, voc, tmp_path):
    with pytest.raises(DatasetError, match="no folder JPEGImages"):
        ingest_voc(storage, tmp_path, "s3://icss/voc/none")
    with pytest.raises(InvalidParameterError, match="--annotations"):
        ingest_voc(storage, voc[0], "s3://icss/voc/none", supervision="points")


# ADE20K


@pytest.fixture(scope="module")
def ade(tmp_path_factory):
    root = tmp_path_factory.mktemp("ade") / "ADEChallengeData2016"
    lines = [f"{i}\t0.1\t1\t1\t1\tthing {i}, other name {i}" for i in range(1, 151)]
    lines[5] = "6\t0.1\t1\t1\t1\tthing 5, thing six"
    root.mkdir()
    (root / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tStuff\tName", *lines]))
    mask = RNG.integers(0, 151, (HEIGHT, WIDTH))
    for part, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        picture(root / "images" / part / f"{name}.jpg")
        indices(root / "annotations" / part / f"{name}.png", mask)
    return root.parent, mask


@pytest.mark.parametrize("ignore_other", [False, True])
def test_ade20k_as_published(storage, ade, ignore_other):
    folder, mask = ade
    prefix = f"s3://icss/ade/{ignore_other}"
    dataset = ingest_ade20k(storage, folder, prefix, ignore_other=ignore_other)
    assert [scene.split for scene in dataset.scenes] == ["train", "val"]
    assert len(dataset.classes) == 151
    assert dataset.classes.names[4:8] == ("thing 4", "thing 5", "thing six", "thing 7")
    ignored = np.where(mask == 0, 255, mask)
    np.testing.assert_array_equal(mask_of(storage, dataset, "ADE_val_00000001"), ignored)
    np.testing.assert_array_equal(
        mask_of(storage, dataset, "ADE_train_00000001"), ignored if ignore_other else mask
    )
    assert sum(map(len, read_protocol("ade-100-10-b").classes_of(dataset))) == 150


def test_ade20k_without_its_names_is_refused(storage, tmp_path):
    with pytest.raises(DatasetError, match=r"no objectInfo150\.txt"):
        ingest_ade20k(storage, tmp_path, "s3://icss/ade/none")


# Cityscapes


def test_cityscapes_as_published(storage, tmp_path):
    mask = RNG.integers(0, 34, (HEIGHT, WIDTH))
    for part, name in (("train", "aachen_000000_000019"), ("val", "lindau_000001_000019")):
        town = name.split("_")[0]
        picture(tmp_path / "leftImg8bit" / part / town / f"{name}_leftImg8bit.png")
        indices(tmp_path / "gtFine" / part / town / f"{name}_gtFine_labelIds.png", mask)
    dataset = ingest_cityscapes(storage, tmp_path, "s3://icss/cityscapes")
    assert [(scene.name, scene.split) for scene in dataset.scenes] == [
        ("aachen_000000_000019", "train"),
        ("lindau_000001_000019", "val"),
    ]
    found = mask_of(storage, dataset, "lindau_000001_000019")
    for value, index in ((7, 1), (26, 14), (33, 19), (0, 255), (9, 255), (29, 255)):
        assert (found[mask == value] == index).all()
    assert CITYSCAPES_CLASSES.names[14] == "car"
    (tmp_path / "gtFine" / "val" / "lindau" / "lindau_000001_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(DatasetError, match=r"the set lacks .*lindau_000001_000019_gtFine_labelIds"):
        ingest_cityscapes(storage, tmp_path, "s3://icss/cityscapes")


def test_the_command_line_knows_the_three(store_settings, voc):
    runner = CliRunner(env=environment_of(store_settings) | {"COLUMNS": "200"})
    done = runner.invoke(app, ["ingest", "voc", str(voc[0]), "s3://icss/data/voc"])
    assert done.exit_code == 0, done.output
    assert "4 scenes (3 train, 1 val)" in done.output
    for name, lacking in (("ade20k", "objectInfo150.txt"), ("cityscapes", "leftImg8bit")):
        refused = runner.invoke(app, ["ingest", name, str(voc[0]), f"s3://icss/data/{name}"])
        assert refused.exit_code == 1
        assert lacking in refused.output
