"""The object store: bytes and files by s3:// address, and GDAL's environment for windowed reads from it."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import rasterio
from boto3.exceptions import Boto3Error
from botocore import exceptions as botocore_errors
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rasterio.session import AWSSession
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from icss_core.raster.environment import PNG_BY_ROWS
from services.errors import ObjectNotFoundError, StorageError, UriNotAllowedError
from services.s3_address import S3Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.settings import Settings

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")

RASTER_EXTENSIONS = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
"""What GDAL may fetch from the store; sidecar files and formats that point elsewhere are not among them."""

_MISSING = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})
_TRANSIENT = frozenset(
    {
        "500",
        "502",
        "503",
        "504",
        "InternalError",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
    }
)
_ATTEMPTS = 4

_GDAL_OPTIONS: dict[str, str | int] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no listing of the folder, no search for sidecar files
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ",".join(RASTER_EXTENSIONS),
    "GDAL_INGESTED_BYTES_AT_OPEN": 32768,  # a whole header in one request
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_VERSION": "2TLS",  # HTTP/2 where there is TLS to agree on it, HTTP/1.1 on plain connections
    "GDAL_HTTP_CONNECTTIMEOUT": 5,
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_MAX_RETRY": 4,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "VSI_CACHE": "TRUE",
    "VSI_CACHE_SIZE": 5_000_000,  # bytes per open file
    "CPL_VSIL_CURL_CACHE_SIZE": 100_000_000,  # bytes per process
    "GDAL_CACHEMAX": 200,  # MB per process
    **PNG_BY_ROWS,  # here, so that opening a raster needs no environment of its own
}

_GDAL_OPTIONS_FOR_RANGES_WITH_200: dict[str, str | int] = {
    # GDAL takes the length of a range answered with 200 for the object's. With a listing of the folder (one
    # for each environment entered or left: new keys make GDAL forget the old one) it knows the true size.
    "GDAL_DISABLE_READDIR_ON_OPEN": "FALSE",
    # It does not accept such answers to several ranges asked for at once, and would ask again for each.
    "GDAL_HTTP_MULTIRANGE": "SERIAL",
    "CPL_VSIL_CURL_CHUNK_SIZE": 131_072,
}


def _is_transient(error: BaseException) -> bool:
    """Whether the same request may well succeed a moment later."""
    if isinstance(error, ClientError):
        details = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return str(details.get("Code")) in _TRANSIENT or status >= 500
    return isinstance(error, (botocore_errors.ConnectionError, botocore_errors.HTTPClientError))


class Storage:
    """Reads and writes objects under the allowed prefixes; safe to share between threads.

    Every address passes `check_allowed` first, whoever it comes from.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._prefixes = tuple(S3Address.parse(prefix) for prefix in settings.readable_prefixes)
        secret = settings.s3_secret_key
        session = boto3.Session(
            aws_access_key_id=settings.s3_access_key,
            aws_secret_access_key=None if secret is None else secret.get_secret_value(),
            region_name=settings.s3_region,
        )
        self._session = session
        self._client: Any = session.client(
            "s3",
            endpoint_url=settings.s3_endpoint,
            config=Config(
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 1},  # retried here, and only where it helps
                connect_timeout=5,
                read_timeout=60,
                max_pool_connections=50,  # several threads upload in parts, ten connections each
                # stores other than AWS do not all know the checksum trailers that boto3 sends by default
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def check_allowed(self, uri: str) -> str:
        """The address in its normal form, if this service may touch it.

        Raises:
            UriNotAllowedError: not an s3:// address, malformed, or outside the allowed prefixes.
        """
        return str(self._allowed(uri))

    def read_bytes(self, uri: str) -> bytes:
        """The whole object.

        Raises:
            ObjectNotFoundError: nothing there.
            StorageError: the store refused or did not answer.
        """
        address = self._allowed(uri)

        def read() -> bytes:
            body: bytes = self._client.get_object(Bucket=address.bucket, Key=address.key)["Body"].read()
            return body

        return self._call(read, "read", address)

    def write_bytes(self, uri: str, content: bytes, *, content_type: str | None = None) -> str:
        """Write the whole object, replacing one that is there; returns its address.

        Raises:
            StorageError: the store refused or did not answer.
        """
        address = self._allowed(uri)
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
        address = self._allowed(uri)

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
        address = self._allowed(uri)
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
        address = self._allowed(uri)
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

    def list(self, prefix: str) -> Iterator[str]:
        """Addresses of all objects under a prefix (whole segments), in the store's order.

        Raises:
            StorageError: the store refused or did not answer.
        """
        address = self._allowed(prefix)
        key = f"{address.key}/" if address.key else ""
        token: dict[str, str] = {}
        while True:
            page = self._page(address, key, token)
            for entry in page.get("Contents", []):
                yield f"s3://{address.bucket}/{entry['Key']}"
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
        address = self._allowed(uri)
        self._call(
            lambda: self._client.delete_object(Bucket=address.bucket, Key=address.key), "delete", address
        )

    def raster_environment(self) -> rasterio.Env:
        """GDAL's settings for windowed reads from this store, as a context manager.

        An environment belongs to the thread that enters it: enter one in each thread that opens or reads
        rasters, around open and reads alike. GDAL's caches are shared by the process.
        """
        endpoint = self._settings.s3_endpoint
        options: dict[str, str | int] = dict(_GDAL_OPTIONS)
        host = None
        if endpoint is not None:
            scheme, _, host = endpoint.partition("://")
            options["AWS_HTTPS"] = "YES" if scheme == "https" else "NO"
            options["AWS_VIRTUAL_HOSTING"] = "FALSE"
        if self._settings.s3_ranges_with_200:
            options |= _GDAL_OPTIONS_FOR_RANGES_WITH_200
        return rasterio.Env(session=AWSSession(session=self._session, endpoint_url=host), **options)

    def _allowed(self, uri: str) -> S3Address:
        address = S3Address.parse(uri)
        if not any(address.within(prefix) for prefix in self._prefixes):
            allowed = ", ".join(str(prefix) for prefix in self._prefixes)
            raise UriNotAllowedError(f"{uri!r} is outside what this service may touch: {allowed}")
        return address

    @staticmethod
    def _call(operation: Callable[[], _T], verb: str, address: S3Address) -> _T:
        """Run one store operation, again after transient failures, with typed errors."""
        retrying = Retrying(
            retry=retry_if_exception(_is_transient),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=0.2, max=5.0),
            before_sleep=lambda state: _logger.warning(
                "could not %s %s (attempt %d), trying again", verb, address, state.attempt_number
            ),
            reraise=True,
        )
        try:
            return retrying(operation)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "?"))
            if code in _MISSING:
                raise ObjectNotFoundError(f"{address} does not exist") from error
            raise StorageError(f"the object store refused to {verb} {address}: {code}") from error
        except (BotoCoreError, Boto3Error) as error:
            raise StorageError(f"the object store did not {verb} {address}: {error}") from error
