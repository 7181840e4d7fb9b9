"""Scenes of a task: only some of them, old classes hidden, and what each may show."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from icss_core.data.random_crops import RandomCrops
from icss_core.data.scene_request import SceneRequest
from icss_core.data.scene_windows import spread_windows
from icss_core.dataset import Dataset, Scene
from icss_core.errors import DatasetError, FillValueError
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.networks import Normalisation
from icss_core.raster.raster_pool import RasterPool
from icss_core.raster.windows import Window
from services.data.image_labels import image_labels
from services.data.scenes import open_scenes
from services.ingest.writer import DatasetWriter

CLASSES = LabelSpace(
    classes=tuple(ClassInfo(name=name, colour=(i, 0, 0)) for i, name in enumerate(["background", *"abc"]))
)
BEFORE = {"plain": "efdc8f48e1ed", "scale": "d5db51d8ef27", "area": "9eb24b870c96"}
MASKS = {"one": (0, 1), "two": (1, 2), "three": (2, 3, 255)}


@pytest.fixture(scope="module")
def dataset(storage):
    writer = DatasetWriter(storage, "s3://icss/task-scenes", name="toy", classes=CLASSES)
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
    scenes = opened(storage, dataset, hidden=("a",), other_label=255, image_labels=True)
    assert [sorted(np.unique(labels).tolist()) for labels, _ in scenes] == [[0, 255], [2, 255], [2, 255]]
    assert [possible.tolist() for _, possible in scenes] == [
        [True, False, False],
        [True, False, True],
        [True, False, True],
    ]


def test_a_scene_with_a_value_far_from_the_statistics_is_named(storage, dataset):
    statistics = Normalisation(mean=(5000.0,) * 3, std=(10.0,) * 3)
    with storage.raster_environment(), RasterPool() as pool:
        (scene,) = open_scenes(
            dataset, "train", classes=("a",), storage=storage, pool=pool, only={"one"}, statistics=statistics
        )
        with pytest.raises(FillValueError, match=r"images/one\S*: 1600 .*have the value 0, 500 standard"):
            scene.crop(Window(0, 0, 40, 40))


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
    writer = DatasetWriter(storage, "s3://icss/task-objectness", name="toy", classes=CLASSES)
    mask = np.ones((40, 40), np.uint8)
    writer.add_file("with", image, mask, split="train", maps={"objectness": likely})
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
    writer = DatasetWriter(storage, "s3://icss/task-unlabelled", name="toy", classes=CLASSES)
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


class AnyFile:
    """Stands for the store: files on this machine may be read."""

    def check_allowed(self, address):
        return address


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Three hundred scenes of 64 x 48 pixels that share two files."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    for kind, shape in (("image", (48, 64, 3)), ("mask", (48, 64))):
        Image.fromarray(rng.integers(0, 2, shape).astype(np.uint8)).save(folder / f"{kind}.png")
    scenes = []
    for index in range(300):
        addresses = {kind: f"{kind}-{index}.png" for kind in ("image", "mask")}
        for kind, address in addresses.items():
            (folder / address).hardlink_to(folder / f"{kind}.png")
        scenes.append(Scene(name=f"s{index}", height=48, width=64, **addresses))
    return Dataset(name="many", classes=CLASSES, scenes=tuple(scenes), base=str(folder))


def test_hundreds_of_scenes_are_opened_as_they_are_drawn_and_never_held_at_once(many):
    a_scene = 48 * 64 * (3 + 1 + 1 + 1)  # image and mask, a byte of validity each
    with RasterPool(max_open=6, max_bytes=5 * a_scene) as pool:
        scenes = open_scenes(many, "train", classes=("a",), storage=AnyFile(), pool=pool)
        assert len(scenes) == 300
        windows = spread_windows(scenes, size=32, limit=16)
        assert pool.openings == 0
        crops = RandomCrops(scenes, size=32, batch=4)
        assert pool.openings == 1
        for iteration in range(10):
            crops(iteration)
            assert pool.open_files <= 6
            assert pool.cached_bytes <= 5 * a_scene
        assert pool.openings <= 1 + 2 * 4 * 10
        for scene, window in windows:
            scene.crop(window)
        assert pool.cached_bytes <= 5 * a_scene


@pytest.mark.parametrize("options", [{}, {"scale": (0.5, 2.0)}, {"area": (0.3, 1.0)}])
def test_crops_are_the_same_whether_sizes_are_said_or_read(many, options):
    bare = many.model_copy(
        update={
            "scenes": tuple(s.model_copy(update={"height": None, "width": None}) for s in many.scenes[:20])
        }
    )
    sized = many.model_copy(update={"scenes": many.scenes[:20]})
    with RasterPool(max_open=4) as pool:
        one, other = (
            RandomCrops(
                open_scenes(data, "train", classes=("a",), storage=AnyFile(), pool=pool),
                size=32,
                batch=4,
                seed=3,
                **options,
            )
            for data in (bare, sized)
        )
        digest = hashlib.sha256()
        for iteration in range(3):
            first, second = one(iteration), other(iteration)
            assert torch.equal(first.pixels, second.pixels)
            assert torch.equal(first.labels, second.labels)
            digest.update(first.pixels.numpy().tobytes() + first.labels.numpy().tobytes())
    # of the same files, all open from the start, before sizes could be said
    assert digest.hexdigest()[:12] == BEFORE[next(iter(options), "plain")]
