"""GDAL settings (S3 endpoint, credentials, cache size) that follow the work into another thread.

`rasterio.Env` sets options for the whole process when entered on the main thread, and for the calling
thread only when entered on any other. A thread that a web worker starts therefore does not see the
credentials its parent entered, and would read as somebody else or not at all. `capture` in the parent and
`enter` in the child.
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PNG_BY_ROWS: Final = {"GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO"}
"""GDAL 3.10 decodes a PNG that is read at once in one go, and then takes a truncated file for a whole one and
gives pixels from uninitialised memory; row by row it sees the damage. It asks on opening and on reading."""

_filters = threading.RLock()
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True, slots=True)
class RasterEnvironment:
    """A copy of the GDAL options in force where `capture` was called; may hold secrets, so it has no repr."""

    options: Mapping[str, object]

    def __repr__(self) -> str:
        return f"RasterEnvironment({len(self.options)} options)"

    @classmethod
    def capture(cls) -> RasterEnvironment:
        """The options of the calling thread's innermost `rasterio.Env`; none where there is no Env."""
        return cls(rasterio.env.getenv() if rasterio.env.hasenv() else {})

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Put the captured options in force in the calling thread, until the block ends.

        rasterio refuses AWS keys as plain options (it wants a boto3 session, which the core does not
        know), so they are set once the Env stands; leaving the Env clears them as it clears the others.
        """
        plain = {key: value for key, value in self.options.items() if key not in _CREDENTIALS}
        secret = {key: value for key, value in self.options.items() if key in _CREDENTIALS}
        with rasterio.Env(session=DummySession(), **plain):
            rasterio.env.setenv(**secret)
            yield


def gdal_ready(**options: str) -> AbstractContextManager[object]:
    """A context in which GDAL's errors become exceptions: the caller's Env, or a new one.

    Leaving an Env inside another sets the outer one's keys again, at which GDAL forgets what it knows of the
    store (folders it has listed above all). So none is entered where the options hold already.

    Args:
        options: GDAL options that must hold inside.
    """
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
