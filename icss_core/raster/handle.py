"""GDAL's handle of one image file, on this machine's disk or elsewhere."""

from __future__ import annotations

import contextvars
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from icss_core.errors import ImageNotFoundError, ImageUnreadableError
from icss_core.raster.buffered import BufferedFile
from icss_core.raster.environment import gdal_ready, georeference_optional
from icss_core.raster.formats import DRIVERS, FORMAT_NAMES
from icss_core.raster.gdal_files import gdal_name
from icss_core.raster.remote import open_remote

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from icss_core.raster.orientation import Stream
    from icss_core.raster.remote import RemoteFile

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Handle:
    """GDAL's handle of one file, and all that has to hold while GDAL uses it.

    Args:
        address: a local path, or `s3://bucket/key` inside of `icss_core.raster.remote.remote_files`.
        name: what errors call it.

    Raises:
        ImageNotFoundError: there is nothing at the address.
        ImageUnreadableError: it is none of the formats we read, or damaged.
        IcssError: it may not or cannot be fetched from where it is.
    """

    def __init__(self, address: str, *, name: str) -> None:
        self.name = name
        self._errors: list[BaseException] = []
        """Errors in fetching bytes, which GDAL cannot pass on."""
        self._options: dict[str, str] = {}
        self._context = contextvars.Context()
        with ExitStack() as closing:
            self._file: RemoteFile | None = None
            if address.startswith("s3://"):
                self._file = file = open_remote(address)
                self._path, self._context = closing.enter_context(gdal_name(file, self._errors))
                self._options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}  # no search for sidecar files
            else:
                self._path = _local_path(address)
            try:
                self.dataset: DatasetReader = self.run(self._open)
            except (RasterioError, CPLE_BaseError) as error:
                raise ImageUnreadableError(
                    f"{name} cannot be opened as {FORMAT_NAMES}: {self.reason(error)}"
                ) from error
            self._close = weakref.finalize(self, _close, self.dataset, self._context, closing.pop_all())

    def _open(self) -> DatasetReader:
        with georeference_optional():
            return DatasetReader(self._path, driver=list(DRIVERS))

    def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do something with the dataset.

        Raises:
            IcssError: bytes could not be fetched, now or earlier, so that nothing read is what it should be.
            RasterioError: what GDAL says.
        """
        try:
            with gdal_ready(**self._options):
                return self._context.run(work, *args, **kwargs)
        finally:
            if self._errors:
                raise self._errors[0]

    def stream(self) -> AbstractContextManager[Stream]:
        """The file's bytes, for what GDAL does not say; what goes wrong in fetching them, `run` raises."""
        if self._file is not None:
            return BufferedFile(self._file, self._errors)
        return Path(self._path).open("rb")

    def reason(self, error: BaseException) -> str:
        """What GDAL said at first: rasterio's own message of a failed read only points to it."""
        while error.__cause__ is not None:
            error = error.__cause__
        return str(error).replace(self._path, self.name).replace(Path(self._path).name, Path(self.name).name)

    def close(self) -> None:
        """Close the file."""
        self._close()


def _close(dataset: DatasetReader, context: contextvars.Context, closing: ExitStack) -> None:
    with closing, gdal_ready():
        context.run(dataset.close)


def _local_path(address: str) -> str:
    """The path GDAL opens; only of files on this machine, so that an address cannot mean anything else."""
    if address.startswith("/vsi") or "://" in address:
        raise ImageUnreadableError(f"{address}: images are read from local paths and s3:// only")
    path = Path(address).absolute()
    if path.is_dir():
        raise ImageUnreadableError(f"{address} is a folder, not an image")
    if not path.is_file():
        raise ImageNotFoundError(f"there is no file {address}")
    return str(path)
