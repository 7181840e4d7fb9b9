import numpy as np
import pytest
from affine import Affine
from scenes_in_store import pixels_of, stored
from tiny_tiles import HEIGHT, WIDTH, image, in_colours, truth, write
from typer.testing import CliRunner

from icss_core.errors import DatasetError, InvalidParameterError
from services.cli import app
from services.ingest import ingest_toulouse
from services.ingest.toulouse import TOULOUSE, TOULOUSE_CLASSES
from services.settings import environment_of

COLOURS = TOULOUSE_CLASSES.colours
TRANSFORM = Affine(0.5, 0, 370_000, 0, -0.5, 4_830_000)
PLACE = {"crs": "EPSG:32631", "transform": TRANSFORM}
LABELLED = ("03", "04", "07", "08")
IMAGES = "SemCity-Toulouse-bench/img_multispec_05/TLS_BDSD_M"
MASKS = "SemCity-Toulouse-bench/semantic_05/TLS_GT"


def eight_bands(tile):
    """16-bit values of which some bands are 0 here and there, never all at once."""
    values = image(int(tile), bands=8, dtype="uint16", highest=60_000)
    values[1:, :10] = 0
    return values


def add_mask(folder, tile, mask=None, drawing=""):
    mask = truth(int(tile), 8) if mask is None else mask
    return write(folder / MASKS / f"TLS_GT_{tile}{drawing}.tif", in_colours(mask, COLOURS))


def masks_in_store(storage, dataset):
    return {
        scene.name: pixels_of(storage, dataset.address(scene.mask))[0][0]
        for scene in dataset.scenes
        if scene.mask is not None
    }


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """All 16 images and the four masks, in the folders that they are published in."""
    folder = tmp_path_factory.mktemp("toulouse")
    for tile in TOULOUSE.tiles:
        write(folder / IMAGES / f"TLS_BDSD_M_{tile}.tif", eight_bands(tile), **PLACE)
    for tile in LABELLED:
        add_mask(folder, tile)
    return folder


@pytest.fixture
def one_tile(tmp_path):
    write(tmp_path / IMAGES / "TLS_BDSD_M_03.tif", eight_bands("03"), **PLACE)
    return tmp_path


def test_paper_split_is_the_one_that_scikit_learn_draws():
    model_selection = pytest.importorskip("sklearn.model_selection")
    train, val = model_selection.train_test_split(LABELLED, test_size=0.5, random_state=42)
    assert set(TOULOUSE.splits["paper"].tiles) == set(val)
    assert set(TOULOUSE.splits["semcity"].tiles) == set(train)  # which happens to be the other way round


def test_toulouse_as_published(storage, published):
    dataset = ingest_toulouse(storage, published, "s3://icss/toulouse/all")
    assert stored(storage, dataset) == dataset
    assert dataset.classes.names == (
        "void", "impervious surface", "building", "pervious surface", "high vegetation", "car", "water",
        "sports venues",
    )  # fmt: skip
    names = {part: [scene.name for scene in dataset.scenes_of(part)] for part in ("train", "val", "test")}
    assert names["train"] == ["toulouse_03", "toulouse_07"]
    assert names["val"] == ["toulouse_04", "toulouse_08"]
    assert names["test"] == [f"toulouse_{tile}" for tile in TOULOUSE.tiles if tile not in LABELLED]
    assert all(scene.mask is None for scene in dataset.scenes_of("test"))
    assert "no mask: tiles 01, 02, 05" in dataset.notes
    for name, mask in masks_in_store(storage, dataset).items():
        assert np.array_equal(mask, truth(int(name[-2:]), 8))
    values, raster = pixels_of(storage, dataset.address(dataset.scenes[6].image))
    assert np.array_equal(values, eight_bands("07"))
    assert (raster.bands, raster.dtype) == (8, "uint16")
    assert raster.crs.to_epsg() == 32631
    assert raster.transform == TRANSFORM


def test_split_of_the_sets_own_users(storage, published):
    dataset = ingest_toulouse(storage, published, "s3://icss/toulouse/semcity", split="semcity")
    assert [scene.name for scene in dataset.scenes_of("train")] == ["toulouse_04", "toulouse_08"]
    tested = [scene.name for scene in dataset.scenes_of("test") if scene.mask is not None]
    assert tested == ["toulouse_03", "toulouse_07"]
    with pytest.raises(InvalidParameterError, match="split must be one of paper, semcity, not 'isprs'"):
        ingest_toulouse(storage, published, "s3://icss/toulouse/none", split="isprs")


def test_the_last_drawing_of_a_mask_counts(storage, one_tile):
    wrong = np.zeros((HEIGHT, WIDTH), np.uint8)
    add_mask(one_tile, "03", wrong, "_1")
    with pytest.raises(DatasetError, match=r"no mask .* like TLS_GT_01\.tif or TLS_GT_01_3\.tif"):
        ingest_toulouse(storage, one_tile, "s3://icss/toulouse/first", partial=True)
    for number, drawing in enumerate(("_2", "_3", "")):
        mask = np.full((HEIGHT, WIDTH), number, np.uint8)
        add_mask(one_tile, "03", mask, drawing)
        dataset = ingest_toulouse(storage, one_tile, f"s3://icss/toulouse/drawn/{number}", partial=True)
        assert np.array_equal(masks_in_store(storage, dataset)["toulouse_03"], mask)


@pytest.mark.parametrize("bands", ["rgb", "nirrg"])
def test_bands_choose_the_image(storage, one_tile, bands):
    add_mask(one_tile, "03")
    folder = one_tile / "img_multispec_05" / f"TLS_BDSD_{bands.upper()}"
    write(folder / f"TLS_BDSD_{bands.upper()}_03.tif", image(1), **PLACE)
    prefix = f"s3://icss/toulouse/{bands}"
    dataset = ingest_toulouse(storage, one_tile, prefix, bands=bands, partial=True)
    assert np.array_equal(pixels_of(storage, dataset.address(dataset.scenes[0].image))[0], image(1))
    other = {"rgb": "nirrg", "nirrg": "rgb"}[bands]
    with pytest.raises(DatasetError, match=f"it has those for --bands multispectral and {bands}$"):
        ingest_toulouse(storage, one_tile, prefix, bands=other, partial=True)


def test_faults_are_named(storage, one_tile):
    prefix = "s3://icss/toulouse/faulty"
    add_mask(one_tile, "03")
    with pytest.raises(DatasetError, match=r"1 of the 16 .* no TLS_BDSD_M_01\.tif, .* no TLS_BDSD_M_16\.tif"):
        ingest_toulouse(storage, one_tile, prefix)
    picture = in_colours(truth(3, 8), COLOURS)
    picture[:, 7, 9] = (34, 139, 35)
    write(one_tile / MASKS / "TLS_GT_03.tif", picture)
    with pytest.raises(
        DatasetError, match=r"TLS_GT_03\.tif: colour #228B23 at row 7, column 9 belongs to no"
    ):
        ingest_toulouse(storage, one_tile, prefix, partial=True)
    write(one_tile / MASKS / "TLS_GT_03.tif", in_colours(truth(3, 8), COLOURS)[:, 1:])
    with pytest.raises(DatasetError, match="does not fit its image: it is 47 x 64 pixels, the image 48 x 64"):
        ingest_toulouse(storage, one_tile, prefix, partial=True)
    assert not storage.exists(f"{prefix}/dataset.yaml")


def test_command_converts_the_set(store_settings, one_tile):
    add_mask(one_tile, "03")
    runner = CliRunner(env=environment_of(store_settings) | {"COLUMNS": "200"})
    done = runner.invoke(app, ["ingest", "toulouse", str(one_tile), "s3://icss/data/tls", "--partial"])
    assert done.exit_code == 0, done.output
    assert "s3://icss/data/tls/dataset.yaml: 1 scenes (1 train)" in done.output
    assert "CC BY-NC-SA 3.0. Bands multispectral, split paper." in done.output
    refused = runner.invoke(
        app, ["ingest", "toulouse", str(one_tile), "s3://icss/data/tls", "--bands", "pan"]
    )
    assert refused.exit_code == 2
    assert "'multispectral', 'rgb', 'nirrg'" in refused.output
