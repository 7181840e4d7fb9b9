"""GDAL's settings follow the work into another thread, and keep GDAL off the network."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import rasterio
from awkward_rasters import RASTERS
from memory_file import MemoryRemote
from rasterio.session import AWSSession

from icss_core.errors import ImageUnreadableError
from icss_core.raster.environment import RasterEnvironment, gdal_ready
from icss_core.raster.reader import open_raster
from icss_core.raster.remote import remote_files
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable
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


def test_options_reach_the_thread_of_a_thread_and_keys_do_not() -> None:
    def seen() -> list[object]:
        names = ("GDAL_HTTP_TIMEOUT", "AWS_SECRET_ACCESS_KEY")
        return [rasterio.env.get_gdal_config(name) for name in names]

    def parent(*, carried: bool) -> object:
        session = AWSSession(aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1")
        with rasterio.Env(session=session, GDAL_HTTP_TIMEOUT="7"):
            environment = RasterEnvironment.capture()

            def child() -> object:
                if not carried:
                    return seen()
                with environment.enter():
                    inside = seen()
                assert seen() == [None, None]
                return inside

            return in_thread(child)

    assert in_thread(lambda: parent(carried=False)) == [None, None]  # what this module is for
    assert in_thread(lambda: parent(carried=True)) == [7, None]


def test_what_opens_remote_files_reaches_another_thread(tmp_path: Path) -> None:
    path = RASTERS["tiled.tif"](tmp_path / "a.tif")
    with remote_files(lambda _: MemoryRemote(path.read_bytes())):
        environment = RasterEnvironment.capture()

    def child() -> str:
        with environment.enter(), open_raster("s3://here/image") as raster:
            return str(raster.read(Window(0, 0, 5, 5)).values.dtype)

    assert in_thread(child) == "uint8"
    with pytest.raises(ImageUnreadableError, match="no object store"):
        open_raster("s3://here/image")


def test_no_environment_is_captured_where_there_is_none() -> None:
    def work() -> object:
        captured = RasterEnvironment.capture()
        with captured.enter():
            return dict(captured.options)

    assert in_thread(work) == {}


def test_an_environment_is_entered_only_where_options_are_missing() -> None:
    with gdal_ready():
        outer = rasterio.env.getenv()
        with gdal_ready():
            assert rasterio.env.getenv() == outer
        with gdal_ready(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
            assert rasterio.env.getenv()["GDAL_DISABLE_READDIR_ON_OPEN"] == "EMPTY_DIR"
        assert rasterio.env.getenv() == outer


@pytest.mark.parametrize("sidecar", ["aux.xml", "msk", "ovr"])
def test_a_file_beside_an_image_cannot_make_gdal_ask_a_server(sidecar: str, tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.05)
        elsewhere = f"/vsicurl/http://127.0.0.1:{server.getsockname()[1]}/other.tif"
        image = RASTERS["strips.tif"](tmp_path / "image.tif")
        band = f"<SimpleSource><SourceFilename>{elsewhere}</SourceFilename></SimpleSource>"
        (tmp_path / f"image.tif.{sidecar}").write_text(
            f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{elsewhere}</MDI></Metadata>'
            "</PAMDataset>"
            if sidecar == "aux.xml"
            else '<VRTDataset rasterXSize="133" rasterYSize="150"><Metadata><MDI '
            f'key="INTERNAL_MASK_FLAGS_1">2</MDI></Metadata><VRTRasterBand dataType="Byte" band="1">{band}'
            "</VRTRasterBand></VRTDataset>"
        )
        with suppress(ImageUnreadableError), open_raster(image) as raster:  # refused or passed over
            raster.read(Window(0, 0, 20, 20))
        with pytest.raises(TimeoutError):
            server.accept()
