"""Scenes of a step: only some of them, old classes hidden, and what each may show."""

import numpy as np
import pytest
from PIL import Image

from icss_core.data.scene_request import SceneRequest
from icss_core.errors import DatasetError
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.raster.raster_pool import RasterPool
from icss_core.raster.windows import Window
from services.data.image_labels import image_labels
from services.data.scenes import open_scenes
from services.ingest.writer import DatasetWriter

CLASSES = LabelSpace(
    classes=tuple(ClassInfo(name=name, colour=(i, 0, 0)) for i, name in enumerate(["background", *"abc"]))
)
MASKS = {"one": (0, 1), "two": (1, 2), "three": (2, 3, 255)}


@pytest.fixture(scope="module")
def dataset(storage):
    writer = DatasetWriter(storage, "s3://icss/step-scenes", name="toy", classes=CLASSES)
    for name, values in MASKS.items():
        mask = np.resize(np.array(values, np.uint8), (40, 40))
        writer.add_array(name, np.zeros((3, 40, 40), np.uint8), mask, split="train")
    return writer.finish()


def opened(storage, dataset, *, only=None, **asked):
    request = SceneRequest(**asked)
    with storage.raster_environment(), RasterPool() as pool:
        scenes = open_scenes(
            dataset, "train", classes=("a", "b"), storage=storage, pool=pool, request=request, only=only
        )
        return [(scene.crop(Window(0, 0, 40, 40))[1], scene.possible) for scene in scenes]


def test_only_the_named_scenes_with_the_old_classes_hidden(storage, dataset):
    scenes = opened(storage, dataset, hidden=("a",), only={"two", "three"})
    assert [sorted(np.unique(labels).tolist()) for labels, _ in scenes] == [[0, 2], [0, 2, 255]]
    assert all(possible is None for _, possible in scenes)


def test_where_labels_are_few_those_of_other_classes_say_nothing(storage, dataset):
    scenes = opened(storage, dataset, hidden=("a",), others=255, image_labels=True)
    assert [sorted(np.unique(labels).tolist()) for labels, _ in scenes] == [[0, 255], [2, 255], [2, 255]]
    assert [possible.tolist() for _, possible in scenes] == [
        [True, False, False],
        [True, False, True],
        [True, False, True],
    ]


@pytest.mark.parametrize("background", [True, False])
def test_scenes_say_which_classes_of_the_model_they_may_show(storage, dataset, background):
    scenes = opened(storage, dataset, image_labels=True, background=background)
    assert [possible.tolist() for _, possible in scenes] == [
        [background, True, False],
        [background, True, True],
        [background, False, True],
    ]
    silent = dataset.model_copy(
        update={"scenes": tuple(one.model_copy(update={"labels": None}) for one in dataset.scenes)}
    )
    with pytest.raises(DatasetError, match="'one' does not say which classes"):
        opened(storage, silent, image_labels=True)


def test_scenes_come_with_their_objectness_where_it_is_asked_for(storage, tmp_path):
    image, likely = tmp_path / "image.png", tmp_path / "likely.png"
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(image)
    values = np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.uint8)
    Image.fromarray(values).save(likely)
    writer = DatasetWriter(storage, "s3://icss/step-objectness", name="toy", classes=CLASSES)
    mask = np.ones((40, 40), np.uint8)
    writer.add_file("with", image, mask, split="train", objectness=likely)
    writer.add_file("without", image, mask, split="train")
    dataset = writer.finish()

    def maps(*names, only=None):
        request = SceneRequest(maps=names)
        with storage.raster_environment(), RasterPool() as pool:
            scenes = open_scenes(
                dataset, "train", classes=("a",), storage=storage, pool=pool, request=request, only=only
            )
            return [scene.cut(Window(0, 0, 40, 40)).maps for scene in scenes]

    assert maps() == [{}, {}]
    (found,) = (one["objectness"] for one in maps("objectness", only={"with"}))
    np.testing.assert_allclose(found, values / 255, rtol=1e-6)
    with pytest.raises(DatasetError, match="'without' has no objectness"):
        maps("objectness")


def test_image_labels_come_from_the_data_set_or_else_from_the_masks(storage, dataset):
    stated = image_labels(dataset, storage)
    assert stated == {"one": ("a",), "two": ("a", "b"), "three": ("b", "c")}
    silent = dataset.model_copy(
        update={"scenes": tuple(one.model_copy(update={"labels": None}) for one in dataset.scenes)}
    )
    assert image_labels(silent, storage) == stated


def test_scenes_without_a_mask_are_there_where_they_are_wanted(storage):
    writer = DatasetWriter(storage, "s3://icss/step-unlabelled", name="toy", classes=CLASSES)
    pixels = np.full((3, 40, 40), 9, np.uint8)
    writer.add_array("with", pixels, np.ones((40, 40), np.uint8), split="train")
    writer.add_array("without", pixels, None, split="train")
    dataset = writer.finish()
    assert [scene.size for scene in dataset.scenes] == [(40, 40)] * 2
    labels = {"labelled": [1], "unlabelled": [255], "all": [1, 255]}
    for wanted, expected in labels.items():
        found = opened(storage, dataset, kind=wanted)
        assert [np.unique(labels).item() for labels, _ in found] == expected
    told = dataset.model_copy(
        update={"scenes": tuple(one.model_copy(update={"labels": ("b",)}) for one in dataset.scenes)}
    )
    ((labels, possible),) = opened(storage, told, kind="unlabelled", image_labels=True)
    assert (labels == 255).all()
    assert possible.tolist() == [True, False, True]
