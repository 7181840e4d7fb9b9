import shutil

import numpy as np
import pytest
from affine import Affine
from scenes_in_store import pixels_of, stored
from tiny_tiles import HEIGHT, WIDTH, image, in_colours, truth, write
from typer.testing import CliRunner

from icss_core.errors import DatasetError, InvalidParameterError
from icss_core.raster.reader import open_raster
from icss_core.raster.windows import Window
from services.cli import app
from services.ingest import ingest_potsdam, ingest_vaihingen
from services.ingest.isprs import ISPRS_CLASSES, POTSDAM, VAIHINGEN
from services.settings import environment_of

COLOURS = ISPRS_CLASSES.colours
WORLD = (0.05, 0, 0, -0.05, 367_000.025, 5_807_999.975)
"""A world file: size of a pixel, no rotation, and the centre of the first pixel."""
TRANSFORM = Affine(0.05, 0, 367_000, 0, -0.05, 5_808_000)
SEED = {tile: number for number, tile in enumerate(POTSDAM.tiles)}


def add_image(folder, tile, bands="RGB", count=3, **profile):
    path = folder / f"top_potsdam_{tile}_{bands}.tif"
    return write(path, image(SEED[tile], count), world=WORLD, **profile)


def add_mask(folder, tile, mask=None, ending="label"):
    mask = truth(SEED[tile], 6) if mask is None else mask
    return write(folder / f"top_potsdam_{tile}_{ending}.tif", in_colours(mask, COLOURS))


def tiles_by_split(dataset):
    names = {part: [scene.name for scene in dataset.scenes_of(part)] for part in ("train", "val", "test")}
    return {part: [name.partition("_")[2] for name in found] for part, found in names.items()}


def mask_in_store(storage, dataset, name):
    (scene,) = (scene for scene in dataset.scenes if scene.name == name)
    return pixels_of(storage, dataset.address(scene.mask))[0][0]


@pytest.fixture(scope="module")
def all_of_potsdam(tmp_path_factory):
    """The 38 tiles in RGB, in the folders that they are published in."""
    folder = tmp_path_factory.mktemp("potsdam")
    for tile in POTSDAM.tiles:
        add_image(folder / "2_Ortho_RGB", tile)
        add_mask(folder / "5_Labels_all", tile)
    return folder


@pytest.fixture
def one_tile(tmp_path):
    add_image(tmp_path / "2_Ortho_RGB", "2_10")
    add_mask(tmp_path / "5_Labels_all", "2_10")
    return tmp_path


@pytest.mark.parametrize(("tiles", "train", "val"), [(POTSDAM, 30, 8), (VAIHINGEN, 26, 7)])
def test_paper_split_is_the_one_that_scikit_learn_draws(tiles, train, val):
    model_selection = pytest.importorskip("sklearn.model_selection")
    drawn = model_selection.train_test_split(sorted(tiles.tiles), test_size=0.2, random_state=42)
    assert [len(part) for part in drawn] == [train, val]
    assert tiles.splits["paper"].part == "val"
    assert sorted(tiles.splits["paper"].tiles) == sorted(drawn[1])


def test_contest_split_is_that_of_its_participants():
    participants = set(POTSDAM.tiles) - set(POTSDAM.splits["isprs"].tiles)
    assert participants == {tile for tile in POTSDAM.tiles if int(tile.split("_")[1]) <= 12}
    assert (len(POTSDAM.tiles), len(participants)) == (38, 24)
    participants = set(VAIHINGEN.tiles) - set(VAIHINGEN.splits["isprs"].tiles)
    theirs = {1, 3, 5, 7, 11, 13, 15, 17, 21, 23, 26, 28, 30, 32, 34, 37}
    assert participants == {str(tile) for tile in theirs}
    assert (len(VAIHINGEN.tiles), len(participants)) == (33, 16)


def test_potsdam_as_published(storage, all_of_potsdam):
    seen = []
    dataset = ingest_potsdam(
        storage, all_of_potsdam, "s3://icss/potsdam/all", on_scene=lambda *step: seen.append(step)
    )
    assert stored(storage, dataset) == dataset
    assert dataset.classes.names == (
        "clutter", "impervious surfaces", "building", "low vegetation", "tree", "car",
    )  # fmt: skip
    parts = tiles_by_split(dataset)
    assert parts["val"] == ["2_14", "3_11", "4_13", "6_9", "6_14", "6_15", "7_8", "7_12"]
    assert (len(parts["train"]), parts["test"]) == (30, [])
    assert seen[0] == (1, 38, "potsdam_2_10")
    assert [step[0] for step in seen] == list(range(1, 39))
    scene = dataset.scenes[SEED["6_9"]]
    assert (scene.name, scene.split) == ("potsdam_6_9", "val")
    assert scene.labels == dataset.classes.names[1:]
    values, raster = pixels_of(storage, dataset.address(scene.image))
    assert np.array_equal(values, image(SEED["6_9"]))
    assert raster.transform.almost_equals(TRANSFORM)
    assert raster.block_shape == (512, 512)
    values, raster = pixels_of(storage, dataset.address(scene.mask))
    assert np.array_equal(values[0], truth(SEED["6_9"], 6))
    assert raster.transform.almost_equals(TRANSFORM)
    assert "Bands rgb, split paper." in dataset.notes
    assert "Left out" not in dataset.notes


def test_potsdam_split_as_in_the_contest(storage, all_of_potsdam):
    parts = tiles_by_split(
        ingest_potsdam(storage, all_of_potsdam, "s3://icss/potsdam/contest", split="isprs")
    )
    assert parts["test"] == list(POTSDAM.splits["isprs"].tiles)
    assert (len(parts["train"]), parts["val"]) == (24, [])


def test_classes_of_the_paper_are_chosen_by_name(storage, one_tile):
    dataset = ingest_potsdam(storage, one_tile, "s3://icss/potsdam/chosen", partial=True)
    mask = mask_in_store(storage, dataset, "potsdam_2_10")
    names = ["impervious surfaces", "building"]
    assert dataset.select(names).names == ("background", *names)
    expected = np.select([truth(0, 6) == 1, truth(0, 6) == 2], [1, 2], default=0)
    assert np.array_equal(dataset.lookup(names)[mask], expected)


def test_eroded_masks_ignore_what_is_black(storage, one_tile):
    mask = truth(0, 6)
    mask[5:9] = 255
    add_mask(one_tile / "5_Labels_all_noBoundary", "2_10", mask, "label_noBoundary")
    whole = ingest_potsdam(storage, one_tile, "s3://icss/potsdam/whole", partial=True)
    assert np.array_equal(mask_in_store(storage, whole, "potsdam_2_10"), truth(0, 6))
    eroded = ingest_potsdam(storage, one_tile, "s3://icss/potsdam/eroded", no_boundary=True, partial=True)
    assert np.array_equal(mask_in_store(storage, eroded, "potsdam_2_10"), mask)


def test_black_is_no_class_of_a_whole_mask(storage, one_tile):
    mask = truth(0, 6)
    mask[5, 9] = 255
    path = add_mask(one_tile / "5_Labels_all", "2_10", mask)
    with pytest.raises(DatasetError, match=rf"{path.name}: colour #000000 at row 5, column 9 belongs to no"):
        ingest_potsdam(storage, one_tile, "s3://icss/potsdam/black", partial=True)
    assert not storage.exists("s3://icss/potsdam/black/dataset.yaml")


@pytest.mark.parametrize("alpha", ["YES", "NO"])
def test_infrared_after_red_green_and_blue_is_a_band_and_no_mask(storage, one_tile, alpha):
    values = image(1, bands=4)
    values[3, 10:30] = 0
    path = one_tile / "4_Ortho_RGBIR" / "top_potsdam_2_10_RGBIR.tif"
    write(path, values, world=WORLD, photometric="RGB", alpha=alpha)
    dataset = ingest_potsdam(
        storage, one_tile, f"s3://icss/potsdam/rgbir-{alpha}", bands="rgbir", partial=True
    )
    address = dataset.address(dataset.scenes[0].image)
    with storage.raster_environment(), open_raster(address) as raster:
        assert raster.transform.almost_equals(TRANSFORM)
        pixels = raster.read(Window(0, 0, HEIGHT, WIDTH))
    assert np.array_equal(pixels.values, values)
    assert pixels.valid.all()


def test_bands_choose_the_image(storage, one_tile):
    values = image(2)
    write(one_tile / "3_Ortho_IRRG" / "top_potsdam_2_10_IRRG.tif", values, world=WORLD)
    dataset = ingest_potsdam(storage, one_tile, "s3://icss/potsdam/irrg", bands="irrg", partial=True)
    assert np.array_equal(pixels_of(storage, dataset.address(dataset.scenes[0].image))[0], values)
    with pytest.raises(
        DatasetError, match=r"no file like top_potsdam_2_10_RGBIR\.tif .* --bands rgb and irrg"
    ):
        ingest_potsdam(storage, one_tile, "s3://icss/potsdam/none", bands="rgbir", partial=True)
    with pytest.raises(InvalidParameterError, match="bands must be one of rgb, irrg, rgbir, not 'nir'"):
        ingest_potsdam(storage, one_tile, "s3://icss/potsdam/none", bands="nir")
    with pytest.raises(InvalidParameterError, match="split must be one of paper, isprs, not 'mine'"):
        ingest_potsdam(storage, one_tile, "s3://icss/potsdam/none", split="mine")


def test_a_download_may_lack_tiles_only_if_that_is_said(storage, all_of_potsdam, tmp_path):
    folder = tmp_path / "part"
    shutil.copytree(all_of_potsdam, folder)
    for tile in ("3_11", "7_13"):
        (folder / "2_Ortho_RGB" / f"top_potsdam_{tile}_RGB.tif").unlink()
    with pytest.raises(
        DatasetError,
        match=r"36 of the 38 .* no top_potsdam_3_11_RGB\.tif, no top_potsdam_7_13_RGB\.tif\. With",
    ):
        ingest_potsdam(storage, folder, "s3://icss/potsdam/part")
    assert not list(storage.list("s3://icss/potsdam/part"))
    dataset = ingest_potsdam(storage, folder, "s3://icss/potsdam/part", partial=True)
    parts = tiles_by_split(dataset)
    assert {part: len(tiles) for part, tiles in parts.items()} == {"train": 29, "val": 7, "test": 0}
    assert "no image: tiles 3_11, 7_13." in dataset.notes


def test_a_tile_without_mask_is_for_test(storage, all_of_potsdam, tmp_path):
    folder = tmp_path / "unlabelled"
    shutil.copytree(all_of_potsdam, folder)
    for tile in ("2_10", "2_14"):
        (folder / "5_Labels_all" / f"top_potsdam_{tile}_label.tif").unlink()
    dataset = ingest_potsdam(storage, folder, "s3://icss/potsdam/unlabelled")
    parts = tiles_by_split(dataset)
    assert {part: len(tiles) for part, tiles in parts.items()} == {"train": 29, "val": 7, "test": 2}
    assert [(scene.name, scene.mask) for scene in dataset.scenes_of("test")] == [
        ("potsdam_2_10", None),
        ("potsdam_2_14", None),
    ]
    assert "no mask: tiles 2_10, 2_14." in dataset.notes


def test_faulty_masks_that_are_known_are_mended(storage, tmp_path):
    for tile, seed in (("4_12", 5), ("6_7", 6)):
        add_image(tmp_path, tile)
        add_mask(tmp_path, tile, truth(seed, 6))
    lossy = in_colours(truth(5, 6), COLOURS).astype(int)
    noise = np.random.default_rng(0).integers(0, 71, lossy.shape)
    write(tmp_path / "top_potsdam_4_12_label.tif", np.abs(lossy - noise).astype(np.uint8))
    cars = in_colours(truth(6, 6), COLOURS)
    cars[0, truth(6, 6) == 5] = 252
    write(tmp_path / "top_potsdam_6_7_label.tif", cars)
    dataset = ingest_potsdam(storage, tmp_path, "s3://icss/potsdam/mended", partial=True)
    assert np.array_equal(mask_in_store(storage, dataset, "potsdam_4_12"), truth(5, 6))
    assert np.array_equal(mask_in_store(storage, dataset, "potsdam_6_7"), truth(6, 6))
    assert "4_12 and 6_7" in dataset.notes
    (tmp_path / "top_potsdam_6_7_label.tif").replace(tmp_path / "top_potsdam_6_8_label.tif")
    add_image(tmp_path, "6_8")
    with pytest.raises(
        DatasetError, match=r"6_8_label\.tif: colour #FCFF00 at row 0, column 5 belongs to no"
    ):
        ingest_potsdam(storage, tmp_path, "s3://icss/potsdam/unknown", partial=True)


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (".", "."),
        ("2_Ortho_RGB/2_Ortho_RGB", "5_Labels_for_participants/5_Labels_for_participants"),
        ("Potsdam/images", "Potsdam/5_Labels_all"),
    ],
    ids=["flat", "nested", "renamed"],
)
def test_files_are_known_by_name_wherever_they_lie(storage, tmp_path, images, masks):
    add_image(tmp_path / images, "7_7").rename(tmp_path / images / "TOP_potsdam_07_07_rgb.TIF")
    add_mask(tmp_path / masks, "7_7")
    add_mask(
        tmp_path / "5_Labels_all_noBoundary", "7_7", np.zeros((HEIGHT, WIDTH), np.uint8), "label_noBoundary"
    )
    prefix = f"s3://icss/potsdam/laid-out/{images.count('/')}{masks.count('/')}"
    dataset = ingest_potsdam(storage, tmp_path, prefix, partial=True)
    assert [scene.name for scene in dataset.scenes] == ["potsdam_7_7"]
    assert np.array_equal(mask_in_store(storage, dataset, "potsdam_7_7"), truth(SEED["7_7"], 6))


def test_folders_may_be_links_to_other_disks(storage, one_tile, tmp_path_factory):
    disk = tmp_path_factory.mktemp("disk")
    shutil.move(one_tile / "2_Ortho_RGB", disk)
    (one_tile / "2_Ortho_RGB").symlink_to(disk / "2_Ortho_RGB")
    dataset = ingest_potsdam(storage, one_tile, "s3://icss/potsdam/linked", partial=True)
    assert [scene.name for scene in dataset.scenes] == ["potsdam_2_10"]


def test_masks_of_all_tiles_go_before_those_for_participants(storage, one_tile):
    for folder in ("4_Labels", "5_Labels_for_participants"):  # one before 5_Labels_all, and one after it
        add_mask(one_tile / folder, "2_10", np.zeros((HEIGHT, WIDTH), np.uint8))
        dataset = ingest_potsdam(storage, one_tile, f"s3://icss/potsdam/both/{folder}", partial=True)
        assert np.array_equal(mask_in_store(storage, dataset, "potsdam_2_10"), truth(0, 6))
        shutil.rmtree(one_tile / folder)


def test_a_folder_that_is_not_the_set_is_refused(storage, one_tile, tmp_path):
    prefix = "s3://icss/potsdam/wrong"
    for folder in (tmp_path / "empty", tmp_path / "5_Labels_all"):
        folder.mkdir(exist_ok=True)
        with pytest.raises(
            DatasetError, match=r"no image of the set 'potsdam': .* top_potsdam_2_10_RGB\.tif is"
        ):
            ingest_potsdam(storage, folder, prefix)
    with pytest.raises(
        DatasetError, match=r"no mask .*: no file like 5_Labels_all/top_potsdam_2_10_label\.tif"
    ):
        ingest_potsdam(storage, one_tile / "2_Ortho_RGB", prefix)
    with pytest.raises(DatasetError, match=r"no mask .*top_potsdam_2_10_label_noBoundary\.tif"):
        ingest_potsdam(storage, one_tile, prefix, no_boundary=True, partial=True)
    with pytest.raises(
        DatasetError, match=r"no image of the set 'vaihingen': .* top/top_mosaic_09cm_area1\.tif"
    ):
        ingest_vaihingen(storage, one_tile, prefix)


def test_two_files_of_one_tile_and_tiles_of_no_set_are_named(storage, one_tile):
    prefix = "s3://icss/potsdam/twice"
    copy = add_image(one_tile / "copy", "2_10")
    with pytest.raises(DatasetError, match=r"2_Ortho_RGB/.* and .*/copy/.*_RGB\.tif are both of tile 2_10"):
        ingest_potsdam(storage, one_tile, prefix, partial=True)
    copy.rename(copy.with_name("top_potsdam_9_10_RGB.tif"))
    with pytest.raises(
        DatasetError, match=r"top_potsdam_9_10_RGB\.tif is of none of the set's tiles, .*7_13"
    ):
        ingest_potsdam(storage, one_tile, prefix, partial=True)


VAIHINGEN_NAME = "top_mosaic_09cm_area{}.tif"
PUBLISHED = "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE"
ERODED = "ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE"


def test_vaihingen_as_published(storage, tmp_path):
    for tile in VAIHINGEN.tiles:
        write(tmp_path / "top" / VAIHINGEN_NAME.format(tile), image(int(tile)), world=WORLD)
        mask = in_colours(truth(int(tile), 6), COLOURS)
        write(tmp_path / PUBLISHED / VAIHINGEN_NAME.format(tile), mask)
    for tile in ("1", "3"):  # the participants' masks are the same; were they taken, the test would see it
        mask = in_colours(np.zeros((HEIGHT, WIDTH), np.uint8), COLOURS)
        write(tmp_path / "gts_for_participants" / VAIHINGEN_NAME.format(tile), mask)
    dataset = ingest_vaihingen(storage, tmp_path, "s3://icss/vaihingen/all")
    assert stored(storage, dataset) == dataset
    assert dataset.classes == ISPRS_CLASSES
    parts = tiles_by_split(dataset)
    assert parts["val"] == ["2", "3", "7", "17", "26", "28", "37"]
    assert (len(parts["train"]), parts["test"]) == (26, [])
    for tile in ("1", "3", "38"):
        assert np.array_equal(mask_in_store(storage, dataset, f"vaihingen_{tile}"), truth(int(tile), 6))
    values, raster = pixels_of(storage, dataset.address(dataset.scenes[-1].image))
    assert np.array_equal(values, image(38))
    assert raster.transform.almost_equals(TRANSFORM)
    parts = tiles_by_split(ingest_vaihingen(storage, tmp_path, "s3://icss/vaihingen/isprs", split="isprs"))
    assert parts["test"] == list(VAIHINGEN.splits["isprs"].tiles)
    assert (len(parts["train"]), parts["val"]) == (16, [])


@pytest.mark.parametrize(
    ("whole", "eroded"), [("gts_for_participants", "gts_eroded_for_participants"), (PUBLISHED, ERODED)]
)
def test_vaihingen_tells_image_mask_and_eroded_mask_apart(storage, tmp_path, whole, eroded):
    mask = truth(1, 6)
    write(tmp_path / "top" / VAIHINGEN_NAME.format(1), image(1), world=WORLD)
    write(tmp_path / whole / VAIHINGEN_NAME.format(1), in_colours(mask, COLOURS))
    thin = np.where(np.arange(WIDTH) % 5, mask, 255)
    write(tmp_path / eroded / "top_mosaic_09cm_area1_noBoundary.tif", in_colours(thin, COLOURS))
    prefix = f"s3://icss/vaihingen/{whole}"
    dataset = ingest_vaihingen(storage, tmp_path, prefix, partial=True)
    assert np.array_equal(pixels_of(storage, dataset.address(dataset.scenes[0].image))[0], image(1))
    assert np.array_equal(mask_in_store(storage, dataset, "vaihingen_1"), mask)
    dataset = ingest_vaihingen(storage, tmp_path, f"{prefix}-eroded", partial=True, no_boundary=True)
    assert np.array_equal(mask_in_store(storage, dataset, "vaihingen_1"), thin)


def test_commands_convert_both_sets(store_settings, one_tile):
    write(one_tile / "top" / VAIHINGEN_NAME.format(1), image(1))
    write(one_tile / "gts_for_participants" / VAIHINGEN_NAME.format(1), in_colours(truth(1, 6), COLOURS))
    shutil.rmtree(one_tile / "5_Labels_all")
    add_mask(one_tile / "5_Labels_all_noBoundary", "2_10", None, "label_noBoundary")
    add_image(one_tile / "3_Ortho_IRRG", "2_10", "IRRG")
    runner = CliRunner(env=environment_of(store_settings) | {"COLUMNS": "200"})
    prefix = "s3://icss/data/commands"
    options = ["--partial", "--split", "isprs"]
    done = runner.invoke(
        app,
        ["ingest", "potsdam", str(one_tile), f"{prefix}/p", "--bands", "irrg", "--no-boundary", *options],
    )
    assert done.exit_code == 0, done.output
    assert f"{prefix}/p/dataset.yaml: 1 scenes (1 train)" in done.output
    assert "Bands irrg, split isprs. Left out, as the download has no image: tiles 2_11, 2_12" in done.output
    done = runner.invoke(app, ["ingest", "vaihingen", str(one_tile), f"{prefix}/v", *options])
    assert done.exit_code == 0, done.output
    assert "■ impervious surfaces" in done.output
    command = ["ingest", "vaihingen", str(one_tile), f"{prefix}/v"]
    for more, fault in (([], "no top/top_mosaic_09cm_area38.tif"), (["--no-boundary"], "no mask of the set")):
        refused = runner.invoke(app, [*command, *more])
        assert refused.exit_code == 1
        assert "DatasetError" in refused.output
        assert fault in refused.output
