"""Data sets made from others: coarser, or with sparse labels."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from scenes_in_store import pixels_of, stored
from tiny_tiles import write

from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE
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
