"""Rasters that GDAL reads through Python; the store itself is in tests/services/test_stored_rasters.py."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from awkward_rasters import RASTERS
from memory_file import MemoryRemote

from icss_core.errors import ImageNotFoundError, ImageUnreadableError
from icss_core.raster.reader import open_raster
from icss_core.raster.remote import remote_files
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = "s3://here/image"


@pytest.mark.parametrize("name", [name for name in RASTERS if name != "sidecar_mask.tif"])
def test_a_remote_raster_reads_as_the_local_one(name: str, tmp_path: Path) -> None:
    path = RASTERS[name](tmp_path / name)
    remote = MemoryRemote(path.read_bytes())
    with remote_files(lambda _: remote), open_raster(ADDRESS) as there, open_raster(path) as here:
        for window in (Window(-5, -5, 200, 200), Window(70, 60, 13, 11)):
            np.testing.assert_array_equal(there.read(window).values, here.read(window).values)
            np.testing.assert_array_equal(there.read(window).valid, here.read(window).valid)
        assert (there.crs, there.transform, there.dtype) == (here.crs, here.transform, here.dtype)
        assert there.address == ADDRESS


def test_a_remote_raster_has_no_files_beside_it(tmp_path: Path) -> None:
    path = RASTERS["sidecar_mask.tif"](tmp_path / "a.tif")
    beside = {"s3://here/a.tif": path, "s3://here/a.tif.msk": tmp_path / "a.tif.msk"}
    asked = []

    def opener(address: str) -> MemoryRemote:
        asked.append(address)
        return MemoryRemote(beside[address].read_bytes())

    with remote_files(opener), open_raster("s3://here/a.tif") as raster:
        assert raster.read(Window(0, 0, 10, 10)).valid.all()
    assert asked == ["s3://here/a.tif"]


def test_a_remote_raster_may_be_read_and_closed_in_other_threads(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = RASTERS["tiled.tif"](tmp_path / "a.tif")
    made: list[object] = []

    def opening() -> None:
        with remote_files(lambda _: MemoryRemote(path.read_bytes())):
            made.append(open_raster(ADDRESS))

    def reading() -> None:
        made.append(made[0].read(Window(0, 0, 150, 133)))  # type: ignore[attr-defined] # a raster

    def closing() -> None:
        made[0].close()  # type: ignore[attr-defined] # a raster

    for work in (opening, reading, closing):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    with open_raster(path) as here:
        np.testing.assert_array_equal(made[1].values, here.read(Window(0, 0, 150, 133)).values)  # type: ignore[attr-defined] # pixels
    assert capfd.readouterr().err == ""


def test_bytes_that_cannot_be_fetched_are_the_error_and_stay_it(tmp_path: Path) -> None:
    path = RASTERS["tiled.tif"](tmp_path / "a.tif")
    error = ImageUnreadableError("the store is away")
    remote = MemoryRemote(path.read_bytes(), start=600, error=error, fails=10**6)
    with remote_files(lambda _: remote), open_raster(ADDRESS) as raster:
        remote.fails = 0
        for _ in range(2):  # GDAL would give blocks it half read, from its cache
            with pytest.raises(ImageUnreadableError, match="the store is away"):
                raster.read(Window(0, 0, 150, 133))
    remote.start = b""
    with remote_files(lambda _: remote), pytest.raises(ImageUnreadableError, match="the store is away"):
        open_raster(ADDRESS)


def test_errors_name_the_address_and_nothing_of_ours(tmp_path: Path) -> None:
    vrt = b"<VRTDataset rasterXSize='1' rasterYSize='1'><SRS>EPSG:4326</SRS></VRTDataset>"
    tiff = RASTERS["tiled.tif"](tmp_path / "a.tif").read_bytes()
    for content in (b"", b"no image", vrt, tiff[:300], tiff[: len(tiff) // 2]):
        remote = MemoryRemote(content)
        with (
            remote_files(lambda _, file=remote: file),  # type: ignore[misc] # bound now, not at the call
            pytest.raises(ImageUnreadableError, match=ADDRESS) as caught,
            open_raster(ADDRESS) as raster,
        ):
            raster.read(Window(0, 0, 150, 133))
        assert "/vsi" not in str(caught.value)


def test_without_a_store_an_address_is_refused() -> None:
    with pytest.raises(ImageUnreadableError, match="no object store is open"):
        open_raster(ADDRESS)

    def nothing(address: str) -> MemoryRemote:
        raise ImageNotFoundError(f"there is no image at {address}")

    with remote_files(nothing), pytest.raises(ImageNotFoundError, match=ADDRESS):
        open_raster(ADDRESS)


def test_a_process_that_leaves_rasters_open_ends_quietly(tmp_path: Path) -> None:
    path = RASTERS["cog.tif"](tmp_path / "a.tif")
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tests/raster')\n"
        "from memory_file import MemoryRemote\n"
        "from icss_core.raster.reader import open_raster\n"
        "from icss_core.raster.remote import remote_files\n"
        f"content = Path({str(path)!r}).read_bytes()\n"
        "with remote_files(lambda _: MemoryRemote(content)):\n"
        "    kept = [open_raster('s3://here/image') for _ in range(3)]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
