"""Data sets made from others: coarser, or with sparse labels."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import Resampling
from rasterio.rpc import RPC
from rasterio.transform import GCPTransformer, RPCTransformer
from scenes_in_store import pixels_of, stored
from tiny_tiles import write

from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE
from icss_core.raster.reader import open_raster
from icss_core.raster.windows import Window
from services.ingest import ingest_derived, ingest_folder


@pytest.fixture
def source(storage, tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    place = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 400_000, 0, -0.5, 5_000_000)}
    rows = ["name,split"]
    for name, split in (("one", "train"), ("two", "val"), ("bare", "train")):
        write(tmp_path / "images" / f"{name}.tif", rng.integers(0, 4000, (2, 45, 62), np.uint16), **place)
        mask = np.zeros((1, 45, 62), np.uint8)
        if name != "bare":
            mask[0, 4:20, 6:40], mask[0, 25:43, 11:60] = 1, 2
            mask[0, :, 50] = IGNORE
        write(tmp_path / "masks" / f"{name}.tif", mask)
        rows.append(f"{name}.tif,{split}")
    (tmp_path / "split.csv").write_text("\n".join(rows))
    (tmp_path / "classes.yaml").write_text("[background, roof, road]")
    return ingest_folder(storage, tmp_path, "s3://icss/derived/source", name="plots")


def mask_of(storage, dataset, name):
    scene = next(scene for scene in dataset.scenes if scene.name == name)
    return pixels_of(storage, dataset.address(scene.mask))[0][0]


def test_a_coarser_copy_is_gdals(storage, source):
    dataset = ingest_derived(storage, f"{source.base}/dataset.yaml", "s3://icss/derived/coarse", shrink=3)
    assert stored(storage, dataset) == dataset
    assert [(scene.name, scene.split) for scene in dataset.scenes] == [
        (scene.name, scene.split) for scene in source.scenes
    ]
    values, raster = pixels_of(storage, dataset.address(dataset.scenes[0].image))
    assert (values.shape, raster.dtype) == ((2, 15, 20), "uint16")
    assert raster.transform == Affine(1.5, 0, 400_000, 0, -1.5, 5_000_000)
    assert raster.crs.to_epsg() == 32633
    fine, _ = pixels_of(storage, source.address(source.scenes[0].image))
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=2, height=45, width=60, dtype="uint16", transform=Affine.scale(2)
        ) as file:
            file.write(fine[:, :, :60])
        with memory.open() as file:
            theirs = file.read(out_shape=(2, 15, 20), resampling=Resampling.average)
    assert np.abs(values.astype(int) - theirs.astype(int)).max() <= 1, "they round halves in another way"
    labels = mask_of(storage, dataset, "one")
    blocks = mask_of(storage, source, "one")[:45, :60].reshape(15, 3, 20, 3).swapaxes(1, 2).reshape(15, 20, 9)
    for place in np.ndindex(15, 20):
        counts = np.bincount(blocks[place], minlength=256)
        assert counts[labels[place]] == counts.max()


@pytest.mark.parametrize("labels", ["points", "scribbles"])
def test_training_scenes_get_sparse_labels_and_the_others_keep_their_masks(storage, source, labels):
    prefix = f"s3://icss/derived/{labels}"
    dataset = ingest_derived(storage, f"{source.base}/dataset.yaml", prefix, labels=labels)
    dense, sparse = (mask_of(storage, one, "one") for one in (source, dataset))
    known = sparse != IGNORE
    assert set(np.unique(sparse[known])) == {1, 2}, "the background is not labelled"
    np.testing.assert_array_equal(sparse[known], dense[known])
    assert known.sum() == 3 if labels == "points" else 20 < known.sum() < 500
    np.testing.assert_array_equal(mask_of(storage, source, "two"), mask_of(storage, dataset, "two"))
    bare = next(scene for scene in dataset.scenes if scene.name == "bare")
    assert bare.mask is None, "nothing to label"
    assert "in 1 of them" in dataset.notes
    everything = ingest_derived(
        storage, f"{source.base}/dataset.yaml", f"{prefix}-all", labels=labels, background=True
    )
    assert 0 in mask_of(storage, everything, "one")


def test_tiles_of_training_scenes_cover_them_once_and_lie_where_they_were(storage, source):
    dataset = ingest_derived(storage, f"{source.base}/dataset.yaml", "s3://icss/derived/tiles", tile=20)
    assert "tiles of about 20 pixels" in dataset.notes
    tiles = [scene for scene in dataset.scenes if scene.name.startswith("one_")]
    assert [scene.name for scene in tiles] == [
        f"one_{row}_{column}" for row in range(2) for column in range(3)
    ]
    origin = next(scene for scene in source.scenes if scene.name == "one")
    whole, raster = pixels_of(storage, source.address(origin.image))
    mask, seen = mask_of(storage, source, "one"), np.zeros((45, 62), int)
    for scene in tiles:
        values, piece = pixels_of(storage, dataset.address(scene.image))
        # where the map says it lies, in the source's pixels
        column, row = ~raster.transform @ (piece.transform.c, piece.transform.f)
        place = np.s_[
            round(row) : round(row) + values.shape[1], round(column) : round(column) + values.shape[2]
        ]
        np.testing.assert_array_equal(values, whole[:, *place])
        np.testing.assert_array_equal(mask_of(storage, dataset, scene.name), mask[place])
        seen[place] += 1
    assert (seen == 1).all()
    np.testing.assert_array_equal(mask_of(storage, source, "two"), mask_of(storage, dataset, "two"))


def test_each_tile_has_points_of_its_own_pieces(storage, source):
    dataset = ingest_derived(
        storage, f"{source.base}/dataset.yaml", "s3://icss/derived/tile-points", tile=20, labels="points"
    )
    whole = next(scene for scene in dataset.scenes if scene.name == "two")
    assert pixels_of(storage, dataset.address(whole.image))[0].shape[1:] == (45, 62)
    corner = mask_of(storage, dataset, "one_0_0")
    assert (corner == 1).sum() == 1
    assert set(np.unique(corner)) == {1, IGNORE}
    assert all(scene.mask is None for scene in dataset.scenes if scene.name.startswith("bare_"))


def test_points_of_two_scenes_are_drawn_apart(storage, source):
    dataset = ingest_derived(
        storage, f"{source.base}/dataset.yaml", "s3://icss/derived/seeds", labels="points", background=True
    )
    again = ingest_derived(
        storage, f"{source.base}/dataset.yaml", "s3://icss/derived/seeds", labels="points", background=True
    )
    assert again == dataset
    other = ingest_derived(
        storage, f"{source.base}/dataset.yaml", "s3://icss/derived/seeds1", labels="points", seed=1
    )
    assert other.scenes[0].checksum != dataset.scenes[0].checksum


def test_a_shrink_or_a_tile_below_one_is_refused(storage, source):
    with pytest.raises(InvalidParameterError, match="at least 1"):
        ingest_derived(storage, f"{source.base}/dataset.yaml", "s3://icss/derived/none", shrink=0)
    with pytest.raises(InvalidParameterError, match="tile is at least 1"):
        ingest_derived(storage, f"{source.base}/dataset.yaml", "s3://icss/derived/none", tile=0)


def test_maps_of_scenes_are_means_too(storage, tmp_path):
    values = np.random.default_rng(3).integers(0, 256, (1, 24, 36)).astype(np.uint8)
    place = {"crs": "EPSG:32633", "transform": Affine(1, 0, 5e5, 0, -1, 5e6)}
    values[0, :, :6] = 9
    write(tmp_path / "objectness" / "one.tif", values, nodata=9, **place)
    base = a_set(storage, tmp_path, "maps", np.repeat(values, 3, 0), np.ones((24, 36), np.uint8), **place)
    copy = ingest_derived(storage, f"{base.base}/dataset.yaml", f"{base.base}-tiles", shrink=4, tile=6)
    with rasterio.open(tmp_path / "objectness" / "one.tif") as file:
        theirs = file.read(1, out_shape=(6, 9), resampling=Resampling.average, masked=True)
    assert [scene.name for scene in copy.scenes] == ["one_0_0", "one_0_1"]
    for scene, columns in zip(copy.scenes, (slice(0, 4), slice(4, 9)), strict=True):
        address = copy.address(scene.maps["objectness"])
        ours, raster = pixels_of(storage, address)
        valid = valid_of(storage, address)
        np.testing.assert_array_equal(valid, ~theirs.mask[:, columns])
        assert np.abs(ours[0].astype(int) - theirs.data[:, columns])[valid].max() <= 1
        assert raster.transform == Affine(4, 0, 5e5 + 4 * columns.start, 0, -4, 5e6)


def a_set(storage, folder, name, values, mask, **profile):
    """A data set of one training scene."""
    for part, array, options in (("images", values, profile), ("masks", mask[None], {})):
        write(folder / part / "one.tif", array, **options)
    (folder / "classes.yaml").write_text("[background, roof, road]")
    return ingest_folder(storage, folder, f"s3://icss/derived/{name}", name=name)


@pytest.mark.parametrize("nodata", [0, 7, None])
def test_pixels_without_data_take_no_part_in_a_mean(storage, tmp_path, nodata):
    """As in GDAL's average, which leaves out what has no data."""
    rng = np.random.default_rng(1)
    values = rng.integers(8, 4000, (2, 40, 60), np.uint16)
    hole = np.zeros((40, 60), bool)
    hole[:, :25] = hole[10:21] = hole[33, 33] = True
    values[:, hole] = 0 if nodata is None else nodata
    mask = np.where(np.indices((40, 60))[1] % 3 == 0, 1, 2).astype(np.uint8)
    profile = {"crs": "EPSG:32633", "transform": Affine(1, 0, 5e5, 0, -1, 5e6)}
    profile |= {} if nodata is None else {"nodata": nodata}
    path = tmp_path / "set" / "images" / "one.tif"
    base = a_set(storage, tmp_path / "set", f"holes-{nodata}", values, mask, **profile)
    copy = ingest_derived(storage, f"{base.base}/dataset.yaml", f"{base.base}-coarse", shrink=4)
    with rasterio.open(path) as file:
        theirs = file.read(out_shape=(2, 10, 15), resampling=Resampling.average, masked=True)
    ours, raster = pixels_of(storage, copy.address(copy.scenes[0].image))
    assert raster.nodata == nodata
    valid = valid_of(storage, copy.address(copy.scenes[0].image))
    np.testing.assert_array_equal(valid, ~theirs.mask.all(axis=0))
    assert np.abs(ours.astype(int) - theirs.filled(0))[:, valid].max() <= 1
    labels = mask_of(storage, copy, "one")
    np.testing.assert_array_equal(labels == IGNORE, ~valid)
    blocks = np.where(hole, 255, mask).reshape(10, 4, 15, 4).swapaxes(1, 2).reshape(10, 15, 16)
    if nodata is not None:
        for place in zip(*np.nonzero(valid), strict=True):
            counts = np.bincount(blocks[place], minlength=256)[:255]
            assert counts[labels[place]] == counts.max()


def valid_of(storage, address):
    with storage.raster_environment(), open_raster(address) as raster:
        return raster.read(Window(0, 0, raster.height, raster.width)).valid


def test_a_mean_that_looks_like_no_data_has_data(storage, tmp_path):
    values = np.full((1, 20, 20), 2, np.uint8)
    values[0, :10] = 1 + 2 * (np.indices((10, 20)).sum(axis=0) % 2)
    base = a_set(storage, tmp_path, "faint", values, np.ones((20, 20), np.uint8), nodata=2)
    copy = ingest_derived(storage, f"{base.base}/dataset.yaml", f"{base.base}-coarse", shrink=4)
    values, _ = pixels_of(storage, copy.address(copy.scenes[0].image))
    assert (values[0, :3] == 2).all()
    np.testing.assert_array_equal(
        valid_of(storage, copy.address(copy.scenes[0].image)), [[True] * 5] * 3 + [[False] * 5] * 2
    )


def test_tiles_have_their_own_control_points(storage, tmp_path):
    points = [
        GroundControlPoint(row, col, 9 + col * 1e-4 + row * 1e-5, 48 - row * 1e-4, 5.0)
        for row, col in ((0, 0), (0, 64), (48, 0), (48, 64), (20, 30))
    ]
    values = np.random.default_rng(0).integers(1, 255, (3, 48, 64)).astype(np.uint8)
    base = a_set(
        storage, tmp_path, "points", values, np.ones((48, 64), np.uint8), gcps=points, crs="EPSG:4326"
    )
    copy = ingest_derived(storage, f"{base.base}/dataset.yaml", f"{base.base}-tiles", shrink=2, tile=12)
    assert len(copy.scenes) > 4
    with GCPTransformer(points) as whole:
        for scene in copy.scenes:
            coarse, raster = pixels_of(storage, copy.address(scene.image))
            _, row, column = scene.name.split("_")
            top, (left, right) = 12 * int(row), ((0, 10), (10, 21), (21, 32))[int(column)]
            assert (coarse.shape[1:], len(raster.gcps)) == ((12, right - left), 5)
            assert raster.gcps_crs.to_epsg() == 4326
            assert {point.z for point in raster.gcps} == {5.0}
            with GCPTransformer(list(raster.gcps)) as own:
                here = own.xy([0, 5], [0, 7], offset="ul")
            there = whole.xy([2 * top, 2 * (top + 5)], [2 * left, 2 * (left + 7)], offset="ul")
            np.testing.assert_allclose(here, there, rtol=0, atol=1e-9)


def test_tiles_have_their_own_rpcs(storage, tmp_path):
    """Pixels lie where GDAL says, at one height, by those of the whole image and those of the tile."""
    linear = [0.0, 0.9, 0.1, 0.02, *[0.0] * 16], [0.0, -0.1, 0.95, 0.01, *[0.0] * 16]
    one = [1.0, *[0.0] * 19]
    rpcs = RPC(
        height_off=200, height_scale=500, lat_off=48, lat_scale=0.01, line_den_coeff=one,
        line_num_coeff=linear[1], line_off=24, line_scale=24, long_off=9, long_scale=0.01,
        samp_den_coeff=one, samp_num_coeff=linear[0], samp_off=32, samp_scale=32,
    )  # fmt: skip
    values = np.random.default_rng(0).integers(1, 255, (3, 48, 64)).astype(np.uint8)
    base = a_set(storage, tmp_path, "rpcs", values, np.ones((48, 64), np.uint8), rpcs=rpcs)
    copy = ingest_derived(storage, f"{base.base}/dataset.yaml", f"{base.base}-tiles", shrink=2, tile=12)
    with RPCTransformer(rpcs, rpc_height=200) as whole:
        for name, top, left in (("one_0_0", 0, 0), ("one_1_2", 12, 21)):
            scene = next(scene for scene in copy.scenes if scene.name == name)
            _, raster = pixels_of(storage, copy.address(scene.image))
            with RPCTransformer(raster.rpcs, rpc_height=200) as own:
                here = own.xy([3, 10], [1, 8], offset="ul")
            there = whole.xy([2 * (top + 3), 2 * (top + 10)], [2 * (left + 1), 2 * (left + 8)], offset="ul")
            np.testing.assert_allclose(here, there, rtol=0, atol=1e-7)


def test_another_split_by_names(storage, source):
    address = f"{source.base}/dataset.yaml"
    dataset = ingest_derived(storage, address, "s3://icss/derived/split", validation="^o", without="tw")
    assert stored(storage, dataset) == dataset
    assert {scene.name: scene.split for scene in dataset.scenes} == {"one": "val", "bare": "train"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"validation": "("}, "no regular expression"),
        ({"validation": "none"}, "no scene of the split 'val'"),
        ({"without": "."}, "leaves no scene"),
    ],
)
def test_a_split_that_cannot_be_is_refused(storage, source, options, said):
    with pytest.raises(InvalidParameterError, match=said):
        ingest_derived(storage, f"{source.base}/dataset.yaml", "s3://icss/derived/none", **options)
