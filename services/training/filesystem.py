"""The object store as Ray Train's checkpoint storage: pyarrow's S3 client without folders."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no type information
from pyarrow import fs

from services.settings import load_settings
from services.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.settings import Settings


def checkpoint_filesystem(settings: Settings) -> fs.FileSystem:
    """A pyarrow filesystem on the object store.

    Ray pickles it, for other processes and into the store itself: the pickle holds no keys, and whoever opens
    it takes the settings from its own environment.
    """
    return fs.PyFileSystem(FolderlessS3(settings))


def _folderless_of_the_environment() -> FolderlessS3:
    return FolderlessS3(load_settings())


class FolderlessS3(fs.FileSystemHandler):  # type: ignore[misc]  # untyped base
    """pyarrow's S3 filesystem for reading; writing and deleting go through our own storage.

    There are two reasons. pyarrow uploads in chunks of undeclared length (checksum trailers), which stores
    other than AWS refuse ("MissingContentLength"). And it marks folders by empty objects whose keys end in
    "/", when it creates one and again whenever a deletion leaves one empty: stores that keep objects as files
    (rclone) cannot hold "a/" beside "a/b", and on all others the markers are litter. A folder here exists
    while something lies in it.

    s3fs behind pyarrow's handler does the same (tried with rclone). What this promises more: nothing is
    written outside the allowed prefixes, no key is in the pickle, deleting what is not there is no error, and
    boto3 stays free to be updated, which aiobotocore pins.

    Paths are "bucket/key", as pyarrow writes them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        scheme, _, host = (settings.s3_endpoint or "").partition("://")
        secret = settings.s3_secret_key
        self._inner = fs.S3FileSystem(
            access_key=settings.s3_access_key,
            secret_key=None if secret is None else secret.get_secret_value(),
            region=settings.s3_region,
            connect_timeout=5,
            request_timeout=60,
            **({"scheme": scheme, "endpoint_override": host} if host else {}),
        )
        self._storage = Storage(settings)

    def __reduce__(self) -> tuple[Callable[[], FolderlessS3], tuple[()]]:
        return _folderless_of_the_environment, ()

    def __deepcopy__(self, _: dict[int, object]) -> FolderlessS3:
        # nothing in it changes, and Tune copies it with the settings of every trial: clients for a hundred of
        # them took two minutes
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FolderlessS3) and self._settings == other._settings

    def __hash__(self) -> int:
        return hash((FolderlessS3, self._settings.s3_endpoint))

    def get_type_name(self) -> str:
        """Name of the kind of filesystem."""
        return "s3"

    def normalize_path(self, path: str) -> str:
        """The path as pyarrow writes it."""
        return str(self._inner.normalize_path(path))

    def get_file_info(self, paths: list[str]) -> Any:
        """What is at each path."""
        return self._inner.get_file_info(paths)

    def get_file_info_selector(self, selector: Any) -> Any:
        """What is below a path."""
        return self._inner.get_file_info(selector)

    def create_dir(self, path: str, recursive: bool) -> None:
        """Nothing to do: a folder is there as soon as something is written into it."""

    def delete_dir(self, path: str) -> None:
        """Delete everything below a path; nothing there is no error."""
        self._delete_below(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        """Delete everything below a path; nothing there is no error."""
        del missing_dir_ok
        self._delete_below(path)

    def delete_root_dir_contents(self) -> None:
        """Refused: nobody here has a reason to empty all buckets."""
        raise NotImplementedError("the root of an object store is not emptied")

    def delete_file(self, path: str) -> None:
        """Delete one object."""
        self._storage.delete(f"s3://{path}")

    def move(self, src: str, dest: str) -> None:
        """Copy, then delete: object stores cannot move."""
        self.copy_file(src, dest)
        self.delete_file(src)

    def copy_file(self, src: str, dest: str) -> None:
        """Copy one object inside the store."""
        self._inner.copy_file(src, dest)

    def open_input_stream(self, path: str) -> Any:
        """Read from the start."""
        return self._inner.open_input_stream(path)

    def open_input_file(self, path: str) -> Any:
        """Read at any place."""
        return self._inner.open_input_file(path)

    def open_output_stream(self, path: str, metadata: dict[str, str] | None) -> Any:
        """Write an object; it appears when the stream is closed."""
        del metadata  # content types, which nobody asks of a checkpoint
        return pa.PythonFile(_Upload(self._storage, f"s3://{path}"), mode="w")

    def open_append_stream(self, path: str, metadata: dict[str, str] | None) -> Any:
        """Refused: objects are written whole."""
        raise NotImplementedError(f"objects cannot be appended to: {path} {metadata or ''}")

    def _delete_below(self, path: str) -> None:
        for uri in list(self._storage.list(f"s3://{path}")):
            self._storage.delete(uri)


class _Upload:
    """A file on local disk that is copied to the store when it is closed."""

    def __init__(self, storage: Storage, uri: str) -> None:
        self._storage, self._uri = storage, uri
        self._file = tempfile.NamedTemporaryFile(prefix="icss-upload-")  # noqa: SIM115 - closed by close()
        self.closed = False

    def write(self, content: bytes) -> int:
        return self._file.write(content)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        """Nothing yet: an object appears whole."""

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        with self._file as file:
            file.flush()
            self._storage.upload(Path(file.name), self._uri)

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False
