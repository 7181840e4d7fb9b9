import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from scenes_in_store import pixels_of, stored
from tiny_tiles import image, write
from typer.testing import CliRunner

from icss_core.errors import DatasetError, ImageUnreadableError, InvalidParameterError
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.raster.environment import georeference_optional
from icss_core.raster.reader import open_raster
from icss_core.raster.windows import Window
from services.cli import app
from services.errors import UriNotAllowedError
from services.ingest import ingest_dubai, ingest_folder, ingest_town
from services.ingest.dubai import DUBAI_CLASSES
from services.ingest.mask_file import read_mask
from services.ingest.mask_meaning import coloured
from services.ingest.writer import DatasetWriter
from services.settings import environment_of


def rgb(seed, height=40, width=50):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)


def indices(seed, height=40, width=50):
    mask = np.random.default_rng(seed).integers(0, 5, (height, width)).astype(np.uint8)
    mask[0, 0] = 255
    return mask


def colours_of(mask):
    table = np.zeros((256, 3), np.uint8)
    table[:5] = DUBAI_CLASSES.colours
    table[255] = (0x9B, 0x9B, 0x9B)
    return table[mask]


@pytest.fixture
def flat_dubai(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    rows = ["name,split,scene,width,height"]
    for number, (name, split) in enumerate((("t1_part001", "train"), ("t1_part002", "val"))):
        Image.fromarray(rgb(number)).save(tmp_path / "images" / f"{name}.jpg")
        Image.fromarray(indices(number)).save(tmp_path / "masks" / f"{name}.png")
        rows.append(f"{name},{split},t1,50,40")
    (tmp_path / "split.csv").write_text("\n".join(rows))
    return tmp_path


def test_dubai_flat_layout(storage, flat_dubai):
    seen = []
    dataset = ingest_dubai(
        storage, flat_dubai, "s3://icss/dubai-flat", on_scene=lambda *step: seen.append(step)
    )
    assert stored(storage, dataset) == dataset
    assert [(scene.name, scene.split) for scene in dataset.scenes] == [
        ("t1_part001", "train"),
        ("t1_part002", "val"),
    ]
    assert dataset.classes.names == ("land", "building", "road", "vegetation", "water")
    assert seen == [(1, 2, "t1_part001"), (2, 2, "t1_part002")]
    scene = dataset.scenes[0]
    assert scene.labels == ("building", "road", "vegetation", "water")
    values, raster = pixels_of(storage, dataset.address(scene.image))
    assert raster.crs is None
    with georeference_optional(), rasterio.open(flat_dubai / "images" / "t1_part001.jpg") as published:
        assert np.array_equal(values, published.read())
    mask, _ = pixels_of(storage, dataset.address(scene.mask))
    assert np.array_equal(mask[0], indices(0))


def test_dubai_published_layout_has_masks_of_colours(storage, tmp_path):
    for part in (1, 3):
        for folder in ("images", "masks"):
            (tmp_path / "Tile 2" / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb(part)).save(tmp_path / "Tile 2" / "images" / f"image_part_00{part}.jpg")
        Image.fromarray(colours_of(indices(part))).save(
            tmp_path / "Tile 2" / "masks" / f"image_part_00{part}.png"
        )
    dataset = ingest_dubai(storage, tmp_path, "s3://icss/dubai-published")
    assert [(scene.name, scene.split) for scene in dataset.scenes] == [
        ("t2_part001", "train"),
        ("t2_part003", "val"),
    ]
    mask, _ = pixels_of(storage, dataset.address(dataset.scenes[1].mask))
    assert np.array_equal(mask[0], indices(3))


def test_dubai_says_what_is_missing(storage, flat_dubai, tmp_path):
    (flat_dubai / "masks" / "t1_part002.png").unlink()
    with pytest.raises(DatasetError, match=r"t1_part002.*no file .*t1_part002\.png"):
        ingest_dubai(storage, flat_dubai, "s3://icss/dubai-missing")
    assert not storage.exists("s3://icss/dubai-missing/dataset.yaml")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DatasetError, match="does not look like the Dubai set"):
        ingest_dubai(storage, empty, "s3://icss/dubai-missing")


def test_real_dubai_images_fit(storage, shared_dir, tmp_path):
    source = shared_dir / "data" / "dubai-mbrsc"
    lines = (source / "split.csv").read_text().splitlines()
    (tmp_path / "split.csv").write_text(
        "\n".join([lines[0], *(x for x in lines if x.startswith("t3_part00"))])
    )
    for folder in ("images", "masks"):
        (tmp_path / folder).symlink_to(source / folder)
    dataset = ingest_dubai(storage, tmp_path, "s3://icss/dubai-real")
    assert {scene.split for scene in dataset.scenes} == {"train", "val"}
    _, raster = pixels_of(storage, dataset.address(dataset.scenes[0].image))
    assert (raster.height, raster.width, raster.bands, raster.dtype) == (658, 682, 3, "uint8")
    assert raster.block_shape == (512, 512)


def test_mask_of_colours_names_a_colour_nobody_has(tmp_path):
    picture = colours_of(indices(0))
    picture[7, 9] = (1, 2, 3)
    Image.fromarray(picture).save(tmp_path / "mask.png")
    with pytest.raises(DatasetError, match="#010203 at row 7, column 9"):
        read_mask(tmp_path / "mask.png", coloured(DUBAI_CLASSES, ignored=[(0x9B, 0x9B, 0x9B)]))


@pytest.fixture
def own_folder(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    transform = Affine(0.5, 0, 400_000, 0, -0.5, 5_000_000)
    for number in range(3):
        values = np.random.default_rng(number).integers(1, 9000, (4, 30, 20)).astype(np.uint16)
        values[:, 0, 0] = 0
        with rasterio.open(
            tmp_path / "images" / f"plot {number}.tif",
            "w",
            driver="GTiff",
            count=4,
            height=30,
            width=20,
            dtype="uint16",
            crs="EPSG:32633",
            transform=transform,
            nodata=0,
        ) as target:
            target.write(values)
        if number < 2:
            Image.fromarray(indices(number, 30, 20) % 2).save(tmp_path / "masks" / f"plot {number}.png")
    (tmp_path / "classes.yaml").write_text("[background, {name: vineyard, colour: [90, 20, 120]}]")
    return tmp_path


def test_own_folder_keeps_what_a_raster_has(storage, own_folder):
    dataset = ingest_folder(storage, own_folder, "s3://icss/own/plots", name="plots")
    assert stored(storage, dataset) == dataset
    assert [(scene.name, scene.split, scene.mask is not None) for scene in dataset.scenes] == [
        ("plot_0", "train", True),
        ("plot_1", "val", True),
        ("plot_2", "test", False),
    ]
    assert dataset.classes.names == ("background", "vineyard")
    values, raster = pixels_of(storage, dataset.address(dataset.scenes[2].image))
    assert (raster.bands, raster.dtype, raster.nodata) == (4, "uint16", 0)
    assert raster.crs.to_epsg() == 32633
    assert raster.transform == Affine(0.5, 0, 400_000, 0, -0.5, 5_000_000)
    with rasterio.open(own_folder / "images" / "plot 2.tif") as original:
        assert np.array_equal(values, original.read())


def test_a_mapping_says_which_mask_values_are_which_classes(storage, own_folder):
    mask = np.array([7, 200, 3, 9], np.uint8)[indices(0, 30, 20) % 4]
    for number in range(2):
        Image.fromarray(mask).save(own_folder / "masks" / f"plot {number}.png")
    (own_folder / "classes.yaml").write_text(
        '{7: sky, 3: {name: vineyard, colour: [1, 2, 3]}, "9": ignore (x)}'
    )
    (own_folder / "split.csv").write_text("name,split\nplot 0.png,val\nplot 1.tif,train\nplot_2,test\n")
    with pytest.raises(DatasetError, match=r"plot 0\.png: mask values \[200\] are no class"):
        ingest_folder(storage, own_folder, "s3://icss/mapped")
    path = own_folder / "classes.yaml"
    path.write_text(path.read_text()[:-1] + ", 200: background}")
    dataset = ingest_folder(storage, own_folder, "s3://icss/mapped")
    assert dataset.classes.names == ("background", "vineyard", "sky")
    assert [scene.split for scene in dataset.scenes] == ["val", "train", "test"]
    found = pixels_of(storage, dataset.address(dataset.scenes[0].mask))[0][0]
    for value, index in ((7, 2), (3, 1), (9, 255), (200, 0)):
        assert (found[mask == value] == index).all()


def test_images_alone_make_a_set_to_predict(storage, tmp_path):
    Image.fromarray(rgb(0)).save(tmp_path / "one.png")
    dataset = ingest_folder(storage, tmp_path, "s3://icss/alone")
    assert dataset.classes.names == ("background",)
    assert [(scene.split, scene.mask) for scene in dataset.scenes] == [("test", None)]


def test_own_folder_faults_are_named(storage, own_folder, tmp_path):
    prefix = "s3://icss/faulty"
    (own_folder / "classes.yaml").write_text("[background]")
    with pytest.raises(DatasetError, match=r"plot 0.*mask values \[1\] are no class"):
        ingest_folder(storage, own_folder, prefix)
    (own_folder / "classes.yaml").write_text("{background: 0}")
    with pytest.raises(DatasetError, match=r"must be a list of class names.* or a mapping"):
        ingest_folder(storage, own_folder, prefix)
    (own_folder / "classes.yaml").unlink()
    with pytest.raises(DatasetError, match=r"no classes\.yaml"):
        ingest_folder(storage, own_folder, prefix)
    (own_folder / "classes.yaml").write_text("[background, vineyard]")
    (own_folder / "split.csv").write_text("name,split\nplot_0,training\n")
    with pytest.raises(DatasetError, match=r"line 2: .*'training'"):
        ingest_folder(storage, own_folder, prefix)
    (own_folder / "split.csv").write_text("name,split\nplot_0,train\n")
    with pytest.raises(DatasetError, match="does not name the scenes"):
        ingest_folder(storage, own_folder, prefix)
    (own_folder / "split.csv").unlink()
    Image.fromarray(indices(0, 31, 20) % 2).save(own_folder / "masks" / "plot 0.png")
    with pytest.raises(DatasetError, match=r"plot 0\.png does not fit .*31 x 20 pixels, the image 30 x 20"):
        ingest_folder(storage, own_folder, prefix)
    (own_folder / "masks" / "plot 9.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"no image for the masks \['plot_9'\]"):
        ingest_folder(storage, own_folder, prefix)
    (own_folder / "masks" / "plot 9.png").unlink()
    (own_folder / "images" / "plot 0.tif").write_bytes(b"not a raster")
    with pytest.raises(ImageUnreadableError, match=r"plot 0\.tif"):
        ingest_folder(storage, own_folder, prefix)
    with pytest.raises(DatasetError, match="no image in"):
        ingest_folder(storage, tmp_path / "nowhere", prefix)
    assert not storage.exists(f"{prefix}/dataset.yaml")


def scribbles(*lines, crs):
    """GeoJSON of lines (class, coordinates)."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "LineString", "coordinates": coordinates},
            "properties": {"class": name},
        }
        for name, coordinates in lines
    ]
    member = {"type": "name", "properties": {"name": crs}}
    return json.dumps({"type": "FeatureCollection", "crs": member, "features": features})


def test_own_folder_may_have_scribbles_to_train_on(storage, own_folder):
    in_pixels = scribbles(
        ("vineyard", [[2.5, 4.5], [2.5, 20.5]]), ("background", [[10.5, 4.5], [10.5, 20.5]]), crs="pixel"
    )
    on_map = scribbles(
        ("vineyard", [[400_001.25, 4_999_997.75], [400_001.25, 4_999_989.75]]), crs="EPSG:32633"
    )
    for number in (0, 1):
        (own_folder / "masks" / f"plot {number}.png").unlink()
    (own_folder / "masks" / "plot 0.geojson").write_text(in_pixels)
    (own_folder / "masks" / "plot 2.geojson").write_text(on_map)
    for number in (1, 3):
        path = own_folder / "images" / f"plot {number}.tif"
        path.write_bytes((own_folder / "images" / "plot 0.tif").read_bytes())
        Image.fromarray(indices(number, 30, 20) % 2).save(own_folder / "masks" / f"plot {number}.png")
    dataset = ingest_folder(storage, own_folder, "s3://icss/own/scribbles")
    assert stored(storage, dataset) == dataset
    assert [(scene.split, scene.labels) for scene in dataset.scenes] == [
        ("train", ("vineyard",)),
        ("train", ("vineyard",)),
        ("train", ("vineyard",)),
        ("val", ("vineyard",)),
    ]
    expected = np.full((30, 20), 255, np.uint8)
    expected[4:21, 1:4] = 1
    expected[3, 2] = expected[21, 2] = 1
    drawn = pixels_of(storage, dataset.address(dataset.scenes[2].mask))[0][0]
    assert np.array_equal(drawn[5:20], expected[5:20])
    expected[4:21, 9:12] = 0
    drawn, raster = pixels_of(storage, dataset.address(dataset.scenes[0].mask))
    assert np.array_equal(drawn[0][5:20], expected[5:20])
    assert (drawn[0][[*range(2), *range(24, 30)]] == 255).all()
    assert (raster.bands, raster.dtype, raster.crs.to_epsg()) == (1, "uint8", 32633)


def test_beside_scribbles_a_single_mask_is_for_validation(storage, own_folder):
    (own_folder / "masks" / "plot 1.png").unlink()
    line = [[2.5, 4.5], [2.5, 20.5]]
    (own_folder / "masks" / "plot 2.geojson").write_text(scribbles(("vineyard", line), crs="pixel"))
    dataset = ingest_folder(storage, own_folder, "s3://icss/own/one-mask")
    splits = {scene.name: scene.split for scene in dataset.scenes if scene.mask is not None}
    assert splits == {"plot_0": "val", "plot_2": "train"}


def test_scribbles_that_cannot_be_used_are_named(storage, own_folder):
    prefix = "s3://icss/own/faulty-scribbles"
    path = own_folder / "masks" / "plot 0.geojson"
    line = ("vineyard", [[2.5, 4.5], [2.5, 20.5]])
    path.write_text(scribbles(line, crs="pixel"))
    with pytest.raises(DatasetError, match=r"\['plot_0'\] have a mask and scribbles"):
        ingest_folder(storage, own_folder, prefix)
    (own_folder / "masks" / "plot 0.png").unlink()
    (own_folder / "split.csv").write_text("name,split\nplot 0,val\nplot 1,train\nplot 2,test\n")
    with pytest.raises(DatasetError, match=r"to train on; \['plot_0'\]"):
        ingest_folder(storage, own_folder, prefix)
    (own_folder / "split.csv").unlink()
    for text, match in (
        ("{", "not JSON"),
        (scribbles(("road", line[1]), crs="pixel"), "feature 0 at .*unknown class 'road'"),
        (scribbles(line, ("vineyard", [[50, 4], [60, 9]]), crs="pixel"), "off the raster.*feature 1"),
        (scribbles(line, crs="EPSG:99"), "unknown CRS 'EPSG:99'"),
    ):
        path.write_text(text)
        with pytest.raises(DatasetError, match=rf"plot 0\.geojson.*{match}"):
            ingest_folder(storage, own_folder, prefix)
    path.rename(own_folder / "masks" / "plot 9.geojson")
    with pytest.raises(DatasetError, match=r"no image for the masks \['plot_9'\]"):
        ingest_folder(storage, own_folder, prefix)
    assert not storage.exists(f"{prefix}/dataset.yaml")


def test_own_folder_may_say_where_objects_are_likely(storage, own_folder):
    before = ingest_folder(storage, own_folder, "s3://icss/own/without")
    (own_folder / "objectness").mkdir()
    likely = np.random.default_rng(5).integers(0, 256, (30, 20)).astype(np.uint8)
    path = own_folder / "objectness" / "plot 1.png"
    Image.fromarray(likely).save(path)
    (own_folder / "maps" / "elevation").mkdir(parents=True)
    Image.fromarray(likely // 2).save(own_folder / "maps" / "elevation" / "plot 1.png")
    dataset = ingest_folder(storage, own_folder, "s3://icss/own/with")
    assert stored(storage, dataset) == dataset
    assert [list(scene.maps) for scene in dataset.scenes] == [[], ["objectness", "elevation"], []]
    heights, _ = pixels_of(storage, dataset.address(dataset.scenes[1].maps["elevation"]))
    assert np.array_equal(heights[0], likely // 2)
    values, raster = pixels_of(storage, dataset.address(dataset.scenes[1].maps["objectness"]))
    assert np.array_equal(values[0], likely)
    assert raster.block_shape == (512, 512)
    assert dataset.scenes[0] == before.scenes[0]
    assert dataset.scenes[1].checksum != before.scenes[1].checksum
    for values, match in (
        (
            np.zeros((31, 20), np.uint8),
            "'plot_1': the objectness does not fit .*31 x 20 pixels",
        ),
        (np.zeros((30, 20, 3), np.uint8), "'plot_1': objectness is one band of uint8.* not 3 of uint8"),
        (np.zeros((30, 20), np.uint16), "not 1 of uint16"),
    ):
        Image.fromarray(values).save(path)
        with pytest.raises(DatasetError, match=match):
            ingest_folder(storage, own_folder, "s3://icss/own/faulty-objectness")
    path.rename(own_folder / "objectness" / "plot 7.png")
    with pytest.raises(DatasetError, match=r"objectness: no image for \['plot_7'\]"):
        ingest_folder(storage, own_folder, "s3://icss/own/faulty-objectness")


def test_town_is_georeferenced_and_repeatable(storage):
    first = ingest_town(storage, "s3://icss/town-a", train=1, val=1, size=128, seed=5)
    again = ingest_town(storage, "s3://icss/town-b", train=1, val=1, size=128, seed=5)
    assert [scene.split for scene in first.scenes] == ["train", "val"]
    assert first.manifest_hash == again.manifest_hash
    _, raster = pixels_of(storage, first.address(first.scenes[0].image))
    assert raster.crs.to_epsg() == 32632
    assert (raster.height, raster.width, raster.bands) == (128, 128, 3)


def test_commands_convert_what_they_are_named_after(store_settings, flat_dubai):
    runner = CliRunner(env=environment_of(store_settings) | {"COLUMNS": "200"})
    prefix = "s3://icss/data/by-command"
    commands = {
        f"dubai {flat_dubai} {prefix}/dubai": ("2 scenes (1 train, 1 val)", "■ building", "check.png", "CC0"),
        f"folder {flat_dubai / 'images'} {prefix}/folder --name mine": ("(2 test)", "classes: background"),
        f"town {prefix}/town --train 0 --val 1 --size 64": ("1 scenes (1 val)", "seed 0"),
    }
    for command, lines in commands.items():
        done = runner.invoke(app, ["ingest", *command.split()])
        assert done.exit_code == 0, done.output
        for line in lines:
            assert line in done.output


def test_a_prefix_that_is_not_allowed_is_refused_before_anything_is_read(storage, tmp_path):
    with pytest.raises(UriNotAllowedError):
        ingest_town(storage, "s3://elsewhere/town", train=1, val=0, size=64)


RED_AND_WHITE = coloured(
    LabelSpace(classes=(ClassInfo(name="a", colour=(255, 0, 0)), ClassInfo(name="b", colour=(255, 255, 255))))
)


def test_mask_of_colours_is_read_in_parts_without_a_seam(tmp_path):
    mask = np.random.default_rng(3).integers(0, 5, (1100, 3)).astype(np.uint8)
    meaning = coloured(DUBAI_CLASSES)
    Image.fromarray(colours_of(mask)).save(tmp_path / "mask.png")
    read = read_mask(tmp_path / "mask.png", meaning)
    assert np.array_equal(read.labels, mask)
    assert sum(read.readings.values()) == mask.size
    picture = colours_of(mask)
    picture[1030, 2] = (1, 2, 3)
    Image.fromarray(picture).save(tmp_path / "mask.png")
    with pytest.raises(DatasetError, match="#010203 at row 1030, column 2"):
        read_mask(tmp_path / "mask.png", meaning)


def test_mask_stored_with_loss_is_read_within_a_tolerance(tmp_path):
    picture = np.array([[(255, 0, 0), (215, 40, 12), (250, 231, 216), (215, 215, 215)]], np.uint8)
    Image.fromarray(picture).save(tmp_path / "mask.png")
    tolerant = replace(RED_AND_WHITE, tolerance=40)
    assert read_mask(tmp_path / "mask.png", tolerant).labels.tolist() == [[0, 0, 1, 1]]
    with pytest.raises(DatasetError, match="#D7280C at row 0, column 1"):  # the colour as it is in the file
        read_mask(tmp_path / "mask.png", replace(RED_AND_WHITE, tolerance=39))
    with pytest.raises(DatasetError, match="#D7280C"):
        read_mask(tmp_path / "mask.png", RED_AND_WHITE)


@pytest.mark.parametrize("tolerance", [-1, 128])
def test_a_tolerance_that_mixes_colours_up_is_refused(tmp_path, tolerance):
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(InvalidParameterError, match=rf"{tolerance} does not tell .* \[0, 255\] apart"):
        read_mask(tmp_path / "mask.png", replace(RED_AND_WHITE, tolerance=tolerance))


RGBA = {"photometric": "RGB", "alpha": "YES"}
GRAY_AND_ALPHA = {"photometric": "MINISBLACK", "alpha": "YES"}  # GDAL marks the second of four bands
PLAIN = {"photometric": "MINISBLACK", "alpha": "NO"}


def copied(storage, prefix, path, **options):
    """Pixels of a file that was added to a data set."""
    writer = DatasetWriter(storage, prefix, name="one", classes=DUBAI_CLASSES)
    scene = writer.add_file("one", path, None, split="test", **options)
    with storage.raster_environment(), open_raster(f"{prefix}/{scene.image}") as raster:
        return raster.read(Window(0, 0, raster.height, raster.width))


@pytest.mark.parametrize(
    ("kind", "profile"),
    [("rgba", RGBA), ("gray-alpha", GRAY_AND_ALPHA), ("plain", PLAIN)],
    ids=["rgba", "gray-alpha", "plain"],
)
def test_a_band_of_data_marked_as_alpha_stays_a_band(storage, tmp_path, kind, profile):
    values = image(0, bands=4)
    values[1:, :20] = 0
    path = write(tmp_path / "four.tif", values, **profile)
    pixels = copied(storage, f"s3://icss/data-in-alpha/{kind}", path, alpha_is_data=True)
    assert np.array_equal(pixels.values, values)
    assert pixels.valid.all()


def test_alpha_is_otherwise_a_mask(storage, tmp_path):
    values = image(0, bands=4)
    values[3, :20] = 0
    pixels = copied(storage, "s3://icss/alpha", write(tmp_path / "four.tif", values, **RGBA))
    assert np.array_equal(pixels.valid, values[3] > 0)
    assert np.array_equal(pixels.values[:, 20:], values[:3, 20:])
