"""Images in a real object store read as the same bytes on disk, by one thread or many, today's bytes only."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from PIL import Image

from icss_core.errors import IcssError, ImageNotFoundError, ImageUnreadableError
from icss_core.raster.environment import georeference_optional
from icss_core.raster.reader import open_mask, open_raster
from icss_core.raster.windows import Window, grid
from services.errors import ConflictError, MalformedUriError, StorageError, UriNotAllowedError
from services.local.ports import free_ports
from services.object_ranges import ObjectRanges, Part
from services.serving.images import Images
from services.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from services.s3_address import S3Address
    from services.settings import Settings


def noise(side: int, seed: int = 0) -> np.ndarray:
    """(3, side, side) uint8, which no compression makes smaller; 3 bytes a pixel."""
    return np.random.default_rng(seed).integers(0, 255, (3, side, side), dtype=np.uint8)


def geotiff(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    _, height, width = pixels.shape
    profile = {"driver": "GTiff", "count": 3, "height": height, "width": width, "dtype": "uint8"} | options
    with georeference_optional(), rasterio.open(path, "w", **profile) as file:
        file.write(pixels)
    return path


def by_pillow(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    Image.fromarray(pixels.transpose(1, 2, 0)).save(path, **options)
    return path


WRITERS: dict[str, Callable[[Path, np.ndarray], Path]] = {
    "plain.png": lambda path, pixels: by_pillow(path, pixels, compress_level=0),
    "plain.jpg": lambda path, pixels: by_pillow(path, pixels, quality=100, subsampling=0),
    # Pillow writes the directory of a compressed TIFF after its strips
    "directory_at_end.tif": lambda path, pixels: by_pillow(path, pixels, compression="tiff_lzw"),
    "tiled.tif": lambda path, pixels: geotiff(
        path, pixels, tiled=True, blockxsize=256, blockysize=256, compress="deflate", interleave="pixel"
    ),
    "strips.tif": geotiff,
    "cog.tif": lambda path, pixels: geotiff(path, pixels, driver="COG", blocksize=256),
    "picture.jp2": lambda path, pixels: geotiff(
        path, pixels, driver="JP2OpenJPEG", quality=100, reversible=True
    ),
}


@pytest.fixture(scope="module")
def images(store_settings: Settings, storage: Storage) -> Images:
    """How requests open images."""
    return Images(store_settings, storage)


def assert_same(images: Images, address: str, path: Path) -> None:
    with images.opened(address) as there, open_raster(path) as here:
        assert (there.bands, there.height, there.width) == (here.bands, here.height, here.width)
        for window in grid(here.height, here.width, window=700, stride=600):
            read, expected = there.read(window), here.read(window)
            assert np.array_equal(read.values, expected.values), (address, window)
            assert np.array_equal(read.valid, expected.valid)


@pytest.mark.parametrize("side", [180, 580], ids=["100kB", "1MB"])
@pytest.mark.parametrize("name", WRITERS)
def test_an_image_in_the_store_reads_as_on_disk(
    name: str, side: int, storage: Storage, images: Images, tmp_path: Path
) -> None:
    path = WRITERS[name](tmp_path / name, noise(side))
    assert path.stat().st_size > side**2
    assert_same(images, storage.upload(path, f"s3://icss/same/{side}/{name}"), path)


@pytest.mark.parametrize("name", ["plain.png", "plain.jpg", "directory_at_end.tif", "tiled.tif", "cog.tif"])
def test_an_image_of_20_megabytes_reads_as_on_disk(
    name: str, storage: Storage, images: Images, tmp_path: Path
) -> None:
    path = WRITERS[name](tmp_path / name, noise(2600))
    assert path.stat().st_size > 13_000_000
    assert_same(images, storage.upload(path, f"s3://icss/same/20MB/{name}"), path)


def test_a_raster_needs_no_ending_and_no_listing(storage: Storage, images: Images, tmp_path: Path) -> None:
    path = WRITERS["tiled.tif"](tmp_path / "a.tif", noise(180))
    assert_same(images, storage.upload(path, "s3://icss/odd names/Käse + Brot (1)~&=.v2"), path)


def test_many_threads_read_one_image_at_once(storage: Storage, images: Images, tmp_path: Path) -> None:
    """300 of the 2,000 that were run once: all the same, where GDAL's own requests failed 5 times in 300."""
    pixels = noise(1000)
    address = storage.upload(WRITERS["tiled.tif"](tmp_path / "a.tif", pixels), "s3://icss/data/race.tif")

    def click(number: int) -> bool:
        row, col = (int(value) for value in np.random.default_rng(number).integers(0, 936, 2))
        with images.opened(address) as raster:
            read = raster.read(Window(row, col, 64, 64)).values
        return np.array_equal(read, pixels[:, row : row + 64, col : col + 64])

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(click, range(300)))


def test_an_image_that_was_replaced_shows_its_new_pixels(storage: Storage, tmp_path: Path) -> None:
    address = "s3://icss/replaced/a.tif"
    for seed, side in ((1, 300), (2, 300), (3, 200), (4, 580)):
        pixels = noise(side, seed)
        storage.upload(WRITERS["tiled.tif"](tmp_path / "a.tif", pixels), address)
        with storage.raster_environment(), open_raster(address) as raster:
            read = raster.read(Window(0, 0, raster.height, raster.width))
        assert np.array_equal(read.values, pixels)
    storage.delete(address)
    with storage.raster_environment(), pytest.raises(ImageNotFoundError, match=address):
        open_raster(address)


@pytest.mark.parametrize("side", [1000, 500, 20])
def test_pixels_of_two_images_never_mix(side: int, storage: Storage, tmp_path: Path) -> None:
    address = f"s3://icss/mixed/{side}.tif"
    storage.upload(WRITERS["tiled.tif"](tmp_path / "a.tif", noise(1000, 1)), address)
    with storage.raster_environment(), open_raster(address) as raster:
        raster.read(Window(0, 0, 10, 10))
        storage.upload(WRITERS["tiled.tif"](tmp_path / "b.tif", noise(side, 2)), address)
        with pytest.raises(ConflictError, match=f"{address} was replaced"):
            raster.read(Window(900, 900, 10, 10))


def test_a_raster_opened_here_is_read_in_a_thread_that_knows_no_store(
    storage: Storage, tmp_path: Path
) -> None:
    pixels = noise(580)
    address = storage.upload(WRITERS["tiled.tif"](tmp_path / "a.tif", pixels), "s3://icss/thread/a.tif")
    read: list[np.ndarray] = []
    with storage.raster_environment(), open_raster(address) as raster:
        window = Window(400, 400, 150, 150)
        thread = threading.Thread(target=lambda: read.append(raster.read(window).values))
        thread.start()
        thread.join()
    np.testing.assert_array_equal(read[0], pixels[:, 400:550, 400:550])


def test_files_beside_an_image_are_not_asked_for(storage: Storage, tmp_path: Path) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), georeference_optional():
        path = geotiff(tmp_path / "a.tif", noise(100))
        with rasterio.open(path, "r+") as file:
            file.write_mask(np.zeros((100, 100), bool))
    storage.upload(tmp_path / "a.tif.msk", "s3://icss/beside/a.tif.msk")
    address = storage.upload(path, "s3://icss/beside/a.tif")
    with storage.raster_environment(), open_raster(address) as raster:
        assert raster.read(Window(0, 0, 100, 100)).valid.all()


@pytest.mark.parametrize(
    "content",
    [
        b"<VRTDataset rasterXSize='1' rasterYSize='1'><VRTRasterBand band='1'/></VRTDataset>",
        b"<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.1/</ServerUrl></Service></GDAL_WMS>",
        b"NETCDF:/etc/passwd:x",
        b"II*\0 but no directory",
        b"x" * 200_000,
        b"",
    ],
    ids=["vrt", "wms", "subdataset", "cut off", "noise", "empty"],
)
def test_what_is_no_image_is_refused_by_its_address(content: bytes, storage: Storage) -> None:
    address = storage.write_bytes("s3://icss/refused/picture.tif", content)
    for opener in (open_raster, open_mask):
        with storage.raster_environment(), pytest.raises(ImageUnreadableError) as caught:
            opener(address)
        assert address in str(caught.value)
        assert "/vsi" not in str(caught.value)
        assert "/tmp" not in str(caught.value)  # noqa: S108 - looked for, not used


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("s3://icss", MalformedUriError),
        ("s3://icss/", MalformedUriError),
        ("s3://icss/a/../b.tif", MalformedUriError),
        ("s3://icss/a\0.tif", MalformedUriError),
        ("s3://icss/\ud800.tif", MalformedUriError),
        ("s3://icss-mlflow/a.tif", UriNotAllowedError),
        ("s3://icss/none.tif", ImageNotFoundError),
        ("/vsicurl/http://127.0.0.1:9/a.tif", ImageUnreadableError),
        ("/vsis3/icss/a.tif", ImageUnreadableError),
        ("http://127.0.0.1:9/a.tif", ImageUnreadableError),
        ("NETCDF:/etc/passwd:x", ImageNotFoundError),
        ("GTIFF_DIR:1:/etc/passwd", ImageNotFoundError),
    ],
)
def test_an_address_is_an_address_and_nothing_else(
    address: str, error: type[IcssError], storage: Storage
) -> None:
    with storage.raster_environment(), pytest.raises(error) as caught:
        open_raster(address)
    assert type(caught.value) is error


@pytest.mark.parametrize("uri", ["s3://icss", "s3://icss/", "s3://icss/\ud800"])
def test_no_operation_takes_a_bucket_for_an_object(uri: str, storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a")
    for operation in (
        storage.check_object,
        storage.read_bytes,
        storage.exists,
        storage.delete,
        storage.open_file,
        lambda uri: storage.write_bytes(uri, b""),
        lambda uri: storage.upload(path, uri),
        lambda uri: storage.download(uri, path),
    ):
        with pytest.raises(MalformedUriError):
            operation(uri)
    assert path.read_bytes() == b"a"


def test_a_store_that_goes_away_is_the_stores_fault(
    store_settings: Settings, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = storage.upload(WRITERS["tiled.tif"](tmp_path / "a.tif", noise(580)), "s3://icss/data/away.tif")
    mine = Storage(store_settings)
    (port,) = free_ports(1)
    monkeypatch.setattr("services.object_ranges._WAIT", 0.0)
    with mine.raster_environment(), open_raster(address) as raster:
        monkeypatch.setattr(mine._ranges, "_endpoint", f"http://127.0.0.1:{port}")
        with pytest.raises(StorageError, match=f"did not give {address}"):
            raster.read(Window(500, 500, 50, 50))
        with pytest.raises(StorageError, match=f"did not give {address}"):
            open_raster(address)


@pytest.fixture
def asked(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Address, offset and length of each range that is asked for from now on."""
    ranges: list[tuple[str, int, int]] = []
    get = ObjectRanges.get

    def counted(self: ObjectRanges, place: S3Address, offset: int, length: int, **options: Any) -> Part:
        ranges.append((str(place), offset, length))
        return get(self, place, offset, length, **options)

    monkeypatch.setattr(ObjectRanges, "get", counted)
    return ranges


def test_opening_takes_one_request_in_a_folder_of_any_size(
    storage: Storage, tmp_path: Path, asked: list[tuple[str, int, int]]
) -> None:
    path = WRITERS["cog.tif"](tmp_path / "a.tif", noise(180))
    places = [storage.upload(path, f"s3://icss/many/{number}.tif") for number in range(5)]
    with storage.raster_environment():
        for place in places:
            open_raster(place).close()
    assert [place for place, _, _ in asked] == places


@pytest.mark.parametrize("name", ["plain.png", "plain.jpg", "tiled.tif", "strips.tif"])
def test_what_was_fetched_and_decoded_once_is_kept(
    name: str, storage: Storage, tmp_path: Path, asked: list[tuple[str, int, int]]
) -> None:
    path = WRITERS[name](tmp_path / name, noise(1000))
    address = storage.upload(path, f"s3://icss/once/{name}")
    with storage.raster_environment(), open_raster(address) as raster:
        for window in grid(1000, 1000, window=300, stride=200):
            raster.read(window)
    assert sum(length for _, _, length in asked) < 1.3 * path.stat().st_size
    assert len(asked) < 30


def test_one_small_window_of_a_tiled_image_takes_few_bytes(
    storage: Storage, tmp_path: Path, asked: list[tuple[str, int, int]]
) -> None:
    path = WRITERS["cog.tif"](tmp_path / "a.tif", noise(1000))
    address = storage.upload(path, "s3://icss/few/a.tif")
    with storage.raster_environment(), open_raster(address) as raster:
        raster.read(Window(600, 600, 10, 10))
    assert len(asked) == 2
    assert sum(length for _, _, length in asked) < 400_000
