"""No CRS makes the program fetch anything, even where PROJ is told that it may."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

NAD27 = "EPSG:4267"
"""Its ways to other CRS use grids, which the packages do not bring."""
BY_GDAL = f"""
from rasterio.warp import transform
print(transform("{NAD27}", "EPSG:4326", [-100.0], [40.0]))
"""
BY_PYPROJ = f"""
import pyproj
print(pyproj.Transformer.from_crs("{NAD27}", "EPSG:4326", always_xy=True).transform(-100.0, 40.0))
"""
FROM_A_CLICK = f"""
import numpy as np
import rasterio
from icss_core.raster.georeference import map_to_position
from icss_core.raster.reader import open_raster
with rasterio.open(
    "placed.tif", "w", driver="GTiff", width=4, height=4, count=1, dtype="uint8", crs="EPSG:4326",
    transform=rasterio.transform.from_origin(-101, 41, 0.5, 0.5),
) as file:
    file.write(np.zeros((1, 4, 4), np.uint8))
with open_raster("placed.tif") as raster:
    rows, cols = map_to_position(raster, [-100.0], [40.0], "{NAD27}")
assert abs(rows[0] - 2) < 0.01 and abs(cols[0] - 2) < 0.01, (rows, cols)
"""
IN_A_THREAD = """
import threading
import pyproj
from rasterio.warp import transform
import icss_core.raster.environment
def both():
    print(transform("EPSG:4267", "EPSG:4326", [-100.0], [40.0]))
    print(pyproj.Transformer.from_crs("EPSG:4267", "EPSG:4326", always_xy=True).transform(-100.0, 40.0))
thread = threading.Thread(target=both)
thread.start()
thread.join()
"""
USED_BEFORE = (
    "import pyproj, rasterio.crs\npyproj.CRS('EPSG:4267')\nrasterio.crs.CRS.from_epsg(4267).to_wkt()\n"
)
RASTER_ROOM = "import icss_core.raster.environment\n"


@pytest.fixture
def requests_of(tmp_path):
    """Runs a program and gives the paths that PROJ asked its server for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(program: str) -> list[str]:
        asked.clear()
        on = {"PROJ_NETWORK": "ON", "PROJ_NETWORK_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
        ended = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **on, "PROJ_USER_WRITABLE_DIRECTORY": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert RASTER_ROOM.split()[1].split(".", maxsplit=1)[0] not in program or ended.returncode == 0, (
            ended.stderr
        )
        return list(asked)

    yield run
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("transformed", [BY_GDAL, BY_PYPROJ])
def test_proj_fetches_grids_where_it_may(requests_of, transformed):
    assert requests_of(transformed), "or the tests below would show nothing"


@pytest.mark.parametrize("transformed", [BY_GDAL, BY_PYPROJ])
@pytest.mark.parametrize("before", ["", USED_BEFORE])
def test_nothing_is_fetched_beside_our_rasters(requests_of, before, transformed):
    assert requests_of(before + RASTER_ROOM + transformed) == []


@pytest.mark.parametrize("program", [FROM_A_CLICK, IN_A_THREAD])
def test_nothing_is_fetched_for_a_click_or_in_another_thread(requests_of, program):
    assert requests_of(program) == []
