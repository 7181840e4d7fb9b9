"""Keeps PROJ from fetching grids over the network, whatever the environment says.

With `PROJ_NETWORK=ON` PROJ downloads the grids of a coordinate transformation from its content delivery
network, and a user who names a CRS would decide what is fetched. Without a grid PROJ takes a less exact way,
or none.

There are two copies of PROJ in the process: pyproj's, and the one that GDAL uses. GDAL's C function for its
copy is not part of rasterio's interface, so it is looked up in the libraries that rasterio has loaded.
"""

from __future__ import annotations

import ctypes
import warnings

import rasterio._env
from pyproj import network


def forbid_proj_network() -> None:
    """Turn PROJ's network access off in this process, for all threads and also after PROJ was used."""
    network.set_network_enabled(active=False)  # type: ignore[attr-defined]  # public, but not in its `__all__`
    try:
        ctypes.CDLL(rasterio._env.__file__).OSRSetPROJEnableNetwork(0)  # noqa: SLF001 - there is no other way
    except AttributeError:
        warnings.warn(
            "GDAL's libraries cannot be reached here; set PROJ_NETWORK=OFF before the program starts",
            RuntimeWarning,
            stacklevel=2,
        )
