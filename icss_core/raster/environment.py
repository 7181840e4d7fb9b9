"""GDAL's settings and the opener of remote files while rasters are read, also in other threads.

`rasterio.Env` sets options for the whole process when entered on the main thread, and for the calling
thread only when entered on any other. A thread that a web worker starts therefore does not see the settings
its parent entered. `capture` in the parent and `enter` in the child.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import rasterio.env
from rasterio.errors import NotGeoreferencedWarning
from rasterio.session import DummySession

from icss_core.raster.proj_network import forbid_proj_network
from icss_core.raster.remote import remote_files, remote_opener

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from icss_core.raster.remote import RemoteOpener

READING: Final = {
    # GDAL 3.10 decodes a PNG that is read at once in one go, and then takes a truncated file for a whole one
    # and gives pixels from uninitialised memory; row by row it sees the damage.
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
    # The only address that GDAL itself may fetch over a network is one that does not exist: a file that
    # names others (overviews, masks, metadata) leads nowhere. See `icss_core.raster.remote`.
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
}
"""Options in force wherever a raster is opened or read."""

_filters = threading.RLock()

# at import, because a coordinate may be transformed outside of `gdal_ready` too
forbid_proj_network()


@dataclass(frozen=True, slots=True)
class RasterEnvironment:
    """A copy of the GDAL options in force where `capture` was called, and what opens remote files there."""

    options: Mapping[str, object]
    opener: RemoteOpener | None = None

    @classmethod
    def capture(cls) -> RasterEnvironment:
        """The options of the calling thread's innermost `rasterio.Env`; none where there is no Env.

        Keys of a cloud are left out: GDAL fetches nothing itself, and rasterio refuses them as plain options.
        """
        options = rasterio.env.getenv() if rasterio.env.hasenv() else {}
        plain = {name: value for name, value in options.items() if not name.startswith("AWS_")}
        return cls(plain, remote_opener())

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Put what was captured in force in the calling thread, until the block ends."""
        remote = nullcontext() if self.opener is None else remote_files(self.opener)
        with rasterio.Env(session=DummySession(), **self.options), remote:
            yield


def gdal_ready(**options: str) -> AbstractContextManager[object]:
    """A context in which GDAL's errors become exceptions and `READING` holds: the caller's Env, or a new one.

    Entering one costs more than a small read, so none is entered where the options hold already.

    Args:
        options: further GDAL options that must hold inside.
    """
    options = READING | options
    context: AbstractContextManager[object]
    if not rasterio.env.hasenv():
        context = rasterio.Env.from_defaults(session=DummySession(), **options)
    elif not options.items() <= rasterio.env.getenv().items():
        context = rasterio.Env(session=DummySession(), **options)
    else:
        context = nullcontext()
    return context


@contextmanager
def georeference_optional() -> Iterator[None]:
    """No warning for rasters without georeference: that is a fact, kept in `Raster.transform`, not a fault.

    Warning filters belong to the process; the lock keeps two threads from restoring each other's.
    """
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
