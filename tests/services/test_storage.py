from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine
from pydantic import SecretStr
from rasterio.session import DummySession

from icss_core.raster.reader import open_raster
from icss_core.raster.windows import Window
from services.errors import ObjectNotFoundError, StorageError, UriNotAllowedError
from services.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.settings import Settings


@pytest.fixture(scope="module")
def storage(store_settings: Settings) -> Storage:
    return Storage(store_settings)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://icss/data/../secret/x.tif",
        "s3://icss/data/./x.tif",
        "s3://icss/data//x.tif",
        "s3://icss/data/%2e%2e/x.tif",
        "s3://icss/data/x%2Fy.tif",
        "s3://icss/data/x.tif?versionId=1",
        "s3://icss/data\\x.tif",
        "s3://icss/data/x\n.tif",
        "s3://icss/database/x.tif",
        "s3://icss",
        "s3://other/data/x.tif",
        "s3://icss-mlflow/0/run/artifacts/model",
        "s3:///data/x.tif",
        "s3://UPPER/data/x.tif",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "/etc/passwd",
        "/vsis3/icss/data/x.tif",
        "",
        "s3://icss/data/" + "x" * 1100,
    ],
)
def test_addresses_outside_the_allowed_prefixes_are_refused(storage: Storage, uri: str) -> None:
    with pytest.raises(UriNotAllowedError):
        storage.check_allowed(uri)
    with pytest.raises(UriNotAllowedError):
        storage.read_bytes(uri)


@pytest.mark.parametrize("uri", ["s3://icss/data/x.tif", "s3://icss/more/a b/ü.tif", "s3://icss/data"])
def test_addresses_under_the_allowed_prefixes_pass(storage: Storage, uri: str) -> None:
    assert storage.check_allowed(uri) == uri
    assert storage.check_allowed(f"{uri}/") == uri


def test_bytes_come_back_and_can_be_listed_and_deleted(storage: Storage) -> None:
    names = {storage.write_bytes(f"s3://icss/data/list/{i}.txt", bytes([i])) for i in range(3)}
    storage.write_bytes("s3://icss/data/list-of-others/0.txt", b"not under the prefix")
    assert set(storage.list("s3://icss/data/list")) == names
    for entry in storage.entries("s3://icss/data/list"):
        assert (entry.etag, entry.bytes) == (storage.etag(entry.address), 1)
    assert storage.read_bytes("s3://icss/data/list/2.txt") == b"\x02"
    storage.delete("s3://icss/data/list/2.txt")
    assert not storage.exists("s3://icss/data/list/2.txt")
    assert storage.exists("s3://icss/data/list/1.txt")


def test_large_files_go_in_parts_and_come_back(storage: Storage, tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(20 * 2**20)
    source = tmp_path / "source.bin"
    source.write_bytes(content)
    uri = storage.upload(source, "s3://icss/data/large.bin")
    assert storage.download(uri, tmp_path / "deep" / "copy.bin").read_bytes() == content


def test_a_missing_object_is_named_and_leaves_no_file(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFoundError, match="s3://icss/data/none"):
        storage.read_bytes("s3://icss/data/none")
    with pytest.raises(ObjectNotFoundError, match="s3://icss/data/none"):
        storage.download("s3://icss/data/none", tmp_path / "copy.bin")
    assert not list(tmp_path.iterdir())
    assert not storage.exists("s3://icss/data/none")


def test_wrong_keys_are_refused_at_once(store_settings: Settings) -> None:
    wrong = store_settings.model_copy(update={"s3_secret_key": SecretStr("guess")})
    with pytest.raises(StorageError, match="refused to read"):
        Storage(wrong).read_bytes("s3://icss/data/x")


def test_a_dead_store_is_tried_again_and_then_named(store_settings: Settings) -> None:
    with failing_store(4) as (port, attempts):
        dead = store_settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{port}"})
        with pytest.raises(StorageError, match="did not read s3://icss/data/x"):
            Storage(dead).read_bytes("s3://icss/data/x")
    assert len(attempts) == 4


@contextmanager
def failing_store(connections: int) -> Iterator[tuple[int, list[object]]]:
    """The port of a server that hangs up on everybody, and one entry for each who came."""
    attempts: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            for _ in range(connections):
                connection, peer = server.accept()
                attempts.append(peer)
                connection.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        yield server.getsockname()[1], attempts
        thread.join(timeout=10)


@pytest.fixture(scope="module")
def scene(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, np.ndarray]:
    """A tiled, compressed GeoTIFF of two megabytes on S3, and its pixels."""
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    pixels = np.random.default_rng(1).integers(0, 4000, (3, 600, 700), dtype=np.uint16)
    profile = {
        "driver": "GTiff",
        "count": 3,
        "height": 600,
        "width": 700,
        "dtype": "uint16",
        "crs": "EPSG:32640",
        "transform": Affine(0.5, 0, 300000, 0, -0.5, 2800000),
        "tiled": True,
        "blockxsize": 128,
        "blockysize": 128,
        "compress": "deflate",
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(pixels)
    return storage.upload(path, "s3://icss/data/scene.tif"), pixels


def test_windows_are_read_from_the_store_in_any_thread(
    storage: Storage, scene: tuple[str, np.ndarray]
) -> None:
    uri, pixels = scene
    found: dict[int, bool] = {}

    def read(number: int) -> None:
        rng = np.random.default_rng(number)
        with storage.raster_environment(), open_raster(uri) as raster:
            same = True
            for _ in range(5):
                row, col = (int(value) for value in rng.integers(0, 400, 2))
                read = raster.read(Window(row, col, 200, 200)).values
                same &= bool(np.array_equal(read, pixels[:, row : row + 200, col : col + 200]))
            found[number] = same

    threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: True, 1: True, 2: True}


def test_gdal_reads_from_this_store_without_a_complaint(
    storage: Storage, scene: tuple[str, np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    with storage.raster_environment(), open_raster(scene[0]) as raster:
        raster.read(Window(50, 60, 300, 300))
    assert not [record for record in caplog.records if record.name.startswith("rasterio")]


def test_gdal_itself_fetches_nothing(storage: Storage, scene: tuple[str, np.ndarray]) -> None:
    endpoint = str(storage._settings.s3_endpoint).partition("://")[2]
    credentials = {"AWS_NO_SIGN_REQUEST": "YES", "AWS_S3_ENDPOINT": endpoint, "AWS_HTTPS": "NO"}
    for address in ("/vsis3/icss/data/scene.tif", f"/vsicurl/http://{endpoint}/icss/data/scene.tif"):
        with (
            storage.raster_environment(),
            rasterio.Env(session=DummySession(), **credentials),
            pytest.raises(rasterio.errors.RasterioIOError, match="does not exist"),
        ):
            rasterio.open(address)


def test_the_environment_ends_with_its_block(storage: Storage, scene: tuple[str, np.ndarray]) -> None:
    with storage.raster_environment():
        pass
    assert not rasterio.env.hasenv()
