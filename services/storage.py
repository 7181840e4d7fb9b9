"""The object store: bytes and files by s3:// address, and rasters in it for windowed reads."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import boto3
import botocore.session
import rasterio
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from rasterio.session import DummySession

from icss_core.errors import ImageNotFoundError
from icss_core.raster.environment import READING
from icss_core.raster.remote import remote_files
from services.errors import (
    MalformedUriError,
    ObjectNotFoundError,
    StorageError,
    StorageUnavailableError,
    UriNotAllowedError,
)
from services.object_ranges import ObjectRanges
from services.s3_address import S3Address
from services.stored_file import StoredFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from services.settings import Settings

_T = TypeVar("_T")

_MISSING: Final = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})
_FAILING: Final = frozenset(
    {"500", "502", "503", "504", "InternalError", "ServiceUnavailable", "SlowDown", "Throttling"}
)
"""Error codes of a store that may well do a moment later what it did not do now."""
_TOGETHER: Final = 8
"""Ranges of files that are fetched at once, in the whole process."""


class StoredObject(NamedTuple):
    """An object as the store lists it."""

    address: str
    written: datetime
    """When, by the store's clock."""
    etag: str
    """As `Storage.etag` gives it."""
    bytes: int


class Storage:
    """Reads and writes objects under the allowed prefixes; safe to share between threads.

    Every address passes `check_allowed` first, whoever it comes from. Where a method says that the store "did
    not answer", the error is a StorageUnavailableError.

    Args:
        settings: where the store is, and what may be touched in it.
        timeout: seconds that the store may be silent.
        attempts: how often an operation is tried that fails for a reason that may pass.
    """

    def __init__(self, settings: Settings, *, timeout: float = 60.0, attempts: int = 4) -> None:
        self._settings = settings
        self._attempts = attempts
        self._prefixes = tuple(S3Address.parse(prefix) for prefix in settings.readable_prefixes)
        secret = settings.s3_secret_key
        own = botocore.session.get_session()
        session = boto3.Session(
            aws_access_key_id=settings.s3_access_key,
            aws_secret_access_key=None if secret is None else secret.get_secret_value(),
            region_name=settings.s3_region,
            botocore_session=own,
        )
        self._client: Any = session.client(
            "s3",
            endpoint_url=settings.s3_endpoint,
            config=Config(
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": attempts, "mode": "standard"},
                connect_timeout=min(5.0, timeout),
                read_timeout=timeout,
                max_pool_connections=50,  # several threads upload in parts, ten connections each
                # stores other than AWS do not all know the checksum trailers that boto3 sends by default
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        self._ranges = ObjectRanges(
            self._client,
            credentials=session.get_credentials(),
            ca_bundle=own.get_config_variable("ca_bundle"),
            timeout=timeout,
            attempts=attempts,
        )
        self._pool = ThreadPoolExecutor(_TOGETHER, thread_name_prefix="store")

    def check_allowed(self, uri: str) -> str:
        """The address in its normal form, if this service may touch it.

        Raises:
            UriNotAllowedError: not an s3:// address, malformed, or outside the allowed prefixes.
        """
        return str(self._allowed(uri))

    def check_object(self, uri: str) -> str:
        """The address of an object in its normal form, if this service may touch it.

        Raises:
            UriNotAllowedError: as `check_allowed`, or it names a bucket.
        """
        return str(self._object(uri))

    def read_bytes(self, uri: str) -> bytes:
        """The whole object.

        Raises:
            ObjectNotFoundError: nothing there.
            StorageError: the store refused or did not answer.
        """
        address = self._object(uri)

        def read() -> bytes:
            body: bytes = self._client.get_object(Bucket=address.bucket, Key=address.key)["Body"].read()
            return body

        return self._call(_whole_body(read, attempts=self._attempts), "read", address)

    def write_bytes(self, uri: str, content: bytes, *, content_type: str | None = None) -> str:
        """Write the whole object, replacing one that is there; returns its address.

        Raises:
            StorageError: the store refused or did not answer.
        """
        address = self._object(uri)
        extra = {} if content_type is None else {"ContentType": content_type}
        self._call(
            lambda: self._client.put_object(Bucket=address.bucket, Key=address.key, Body=content, **extra),
            "write",
            address,
        )
        return str(address)

    def upload(self, path: Path, uri: str) -> str:
        """Copy a local file to the store, in parts if it is large; returns the address.

        Raises:
            StorageError: the store refused or did not answer.
        """
        address = self._object(uri)

        def send() -> None:
            with path.open("rb") as file:
                self._client.upload_fileobj(file, address.bucket, address.key)

        self._call(send, "write", address)
        return str(address)

    def download(self, uri: str, path: Path) -> Path:
        """Copy an object to a local file. The file appears complete or not at all.

        Raises:
            ObjectNotFoundError: nothing there.
            StorageError: the store refused or did not answer.
        """
        address = self._object(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        partial = Path(name)
        try:
            self._call(lambda: self._client.download_file(address.bucket, address.key, name), "read", address)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return path

    def exists(self, uri: str) -> bool:
        """Whether there is an object at the address.

        Raises:
            StorageError: the store refused or did not answer.
        """
        address = self._object(uri)
        try:
            self._call(
                lambda: self._client.head_object(Bucket=address.bucket, Key=address.key), "look up", address
            )
        except ObjectNotFoundError:
            return False
        return True

    def etag(self, uri: str) -> str:
        """Entity tag of an object: another one once it has been overwritten with other bytes.

        Raises:
            ObjectNotFoundError: nothing there.
            StorageError: the store refused or did not answer.
        """
        address = self._allowed(uri)

        def look_up() -> str:
            return str(self._client.head_object(Bucket=address.bucket, Key=address.key)["ETag"])

        return self._call(look_up, "look up", address)

    def answers(self) -> bool:
        """True: the store answers, and takes our keys.

        Raises:
            StorageError: the store refused or did not answer.
        """
        self.exists(str(self._prefixes[0].child("is-the-store-there")))
        return True

    def list(self, prefix: str) -> Iterator[str]:
        """Addresses of all objects under a prefix (whole segments), in the store's order.

        Raises:
            StorageError: the store refused or did not answer.
        """
        for entry in self.entries(prefix):
            yield entry.address

    def entries(self, prefix: str) -> Iterator[StoredObject]:
        """The same with what the store says of each object.

        Raises:
            StorageError: the store refused or did not answer.
        """
        address = self._allowed(prefix)
        key = f"{address.key}/" if address.key else ""
        token: dict[str, str] = {}
        while True:
            page = self._page(address, key, token)
            for entry in page.get("Contents", []):
                yield StoredObject(
                    address=f"s3://{address.bucket}/{entry['Key']}",
                    written=entry["LastModified"],
                    etag='"{}"'.format(entry["ETag"].strip('"')),  # not all stores list it with quotes
                    bytes=entry["Size"],
                )
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def _page(self, address: S3Address, key: str, token: dict[str, str]) -> dict[str, Any]:
        def list_page() -> dict[str, Any]:
            page: dict[str, Any] = self._client.list_objects_v2(Bucket=address.bucket, Prefix=key, **token)
            return page

        return self._call(list_page, "list", address)

    def delete(self, uri: str) -> None:
        """Remove an object; one that is not there is no error.

        Raises:
            StorageError: the store refused or did not answer.
        """
        address = self._object(uri)
        self._call(
            lambda: self._client.delete_object(Bucket=address.bucket, Key=address.key), "delete", address
        )

    @contextmanager
    def raster_environment(self) -> Iterator[None]:
        """Inside, `open_raster` and `open_mask` open `s3://` addresses of this store, for windowed reads.

        It holds for the thread that enters it. What was opened in it may be read in any thread, and shows the
        object as it was when it was opened: each opening asks the store anew, and bytes of an object that was
        replaced meanwhile are a ConflictError.
        """
        options = rasterio.Env(session=DummySession(), **READING)
        with options, remote_files(self.open_file):
            yield

    def open_file(self, uri: str) -> StoredFile:
        """An object as a file that is read by ranges of bytes.

        Raises:
            UriNotAllowedError: outside the allowed prefixes.
            ImageNotFoundError: nothing there.
            StorageError: the store refused or did not answer.
        """
        try:
            return StoredFile.open(self._object(uri), self._ranges, self._pool)
        except ObjectNotFoundError as error:
            raise ImageNotFoundError(f"there is no image at {uri}") from error

    def _object(self, uri: str) -> S3Address:
        """The address of an object, not of a bucket, that this service may touch."""
        address = S3Address.parse(uri)
        if not address.key:
            raise MalformedUriError(f"{uri!r} names a bucket; an object in it is s3://{address.bucket}/key")
        return self._allowed(uri)

    def _allowed(self, uri: str) -> S3Address:
        address = S3Address.parse(uri)
        if not any(address.within(prefix) for prefix in self._prefixes):
            allowed = ", ".join(str(prefix) for prefix in self._prefixes)
            raise UriNotAllowedError(f"{uri!r} is outside what this service may touch: {allowed}")
        return address

    @staticmethod
    def _call(operation: Callable[[], _T], verb: str, address: S3Address) -> _T:
        """Run one store operation with typed errors; boto3 itself tries again what may succeed later."""
        try:
            return operation()
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "?"))
            if code in _MISSING:
                raise ObjectNotFoundError(f"{address} does not exist") from error
            kind = StorageUnavailableError if code in _FAILING else StorageError
            raise kind(f"the object store refused to {verb} {address}: {code}") from error
        except (BotoCoreError, Boto3Error) as error:
            raise StorageUnavailableError(f"the object store did not {verb} {address}: {error}") from error


def _whole_body(read: Callable[[], _T], *, attempts: int) -> Callable[[], _T]:
    """The same, again where the connection broke while the body came: boto3 tries again only until then."""

    def again() -> _T:
        for _ in range(attempts - 1):
            try:
                return read()
            except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
                continue
        return read()

    return again
