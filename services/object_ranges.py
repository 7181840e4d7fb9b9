"""Ranges of bytes of objects, by signed requests of one kind.

boto3's `get_object` takes 2.3 ms of Python a call, mostly to find out what kind of request it is; an image
read by windows is hundreds of them. Signing, certificates, proxies and connections are botocore's here too.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, HTTPClientError, NoCredentialsError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from services.errors import ConflictError, ObjectNotFoundError, StorageError, StorageUnavailableError

if TYPE_CHECKING:
    from services.s3_address import S3Address

_WAIT: Final = 0.2
"""Seconds before the second attempt, doubled before each further one."""
_CODE: Final = re.compile(rb"<Code>(\w+)</Code>")
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Part(NamedTuple):
    """What the store gave of an object."""

    content: bytes
    size: int
    """Of the whole object, in bytes."""
    tag: str
    """The ETag: another one whenever the object's content is another."""


class ObjectRanges:
    """Gets parts of objects; safe to share between threads.

    Args:
        client: boto3's client of the store; its endpoint and region are used.
        credentials: botocore's, which refresh themselves; None: there are none.
        ca_bundle: file of certificates to trust; None: botocore's own.
        timeout: seconds that the store may be silent.
        attempts: how often a request is sent that fails for a reason that may pass.
    """

    def __init__(
        self, client: Any, *, credentials: Any, ca_bundle: str | None, timeout: float, attempts: int
    ) -> None:
        self._endpoint: str = client.meta.endpoint_url
        self._region: str = client.meta.region_name
        self._credentials = credentials
        self._attempts = attempts
        self._http = URLLib3Session(
            verify=ca_bundle or True,
            proxies=get_environ_proxies(self._endpoint),
            timeout=(min(5.0, timeout), timeout),
            max_pool_connections=50,
        )

    def get(self, place: S3Address, offset: int, length: int, *, tag: str | None = None) -> Part:
        """The bytes from `offset` on, `length` of them or up to the end of the object.

        The size is what the answer's Content-Range says, whatever status the answer has: some stores answer a
        range with 200 instead of 206 (`rclone serve s3`), and then Content-Length is that of the answer.

        Args:
            place: of the object.
            offset: at least 0.
            length: at least 1.
            tag: what the object's tag was; looked at in the answer too, as some stores do not know the
                condition.

        Raises:
            ObjectNotFoundError: there is no object.
            ConflictError: the object's tag is not `tag`.
            StorageUnavailableError: the store did not answer, or fails itself.
            StorageError: it refused, or gave other bytes than asked for.
        """
        headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
        if tag is not None:
            headers["If-Match"] = tag
        retrying = Retrying(
            retry=retry_if_exception_type((HTTPClientError, StorageUnavailableError)),
            stop=stop_after_attempt(self._attempts),
            wait=wait_exponential_jitter(multiplier=_WAIT, max=5.0, jitter=_WAIT),
            reraise=True,
        )
        try:
            return retrying(self._get, place, offset, headers)
        except BotoCoreError as error:
            raise StorageUnavailableError(f"the object store did not give {place}: {error}") from error

    def _get(self, place: S3Address, offset: int, headers: dict[str, str]) -> Part:
        if self._credentials is None:
            raise NoCredentialsError
        url = f"{self._endpoint}/{place.bucket}/{quote(place.key, safe='/~')}"
        request = AWSRequest(method="GET", url=url, headers=headers, stream_output=True)
        S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
        answer = self._http.send(request.prepare())
        if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and "If-Match" not in headers:
            return Part(b"", 0, "")  # an empty object has no first byte
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            raise _refusal(place, answer.status_code, answer.content, changed="If-Match" in headers)
        tag = answer.headers.get("ETag", "")
        if headers.get("If-Match", tag) != tag:
            answer.raw.close()
            raise replaced(place)
        span = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if span is None or int(span[1]) != offset:
            answer.raw.close()
            raise StorageError(f"the object store gives {place} only as a whole, not by ranges of bytes")
        content = answer.content
        if len(content) != int(span[2]) + 1 - offset:
            raise StorageUnavailableError(f"the object store broke off in the middle of {place}")
        return Part(content, int(span[3]), tag)


def _refusal(place: S3Address, status: int, body: bytes, *, changed: bool) -> StorageError | ConflictError:
    named = _CODE.search(body)
    code = named[1].decode() if named else str(status)
    if status == HTTPStatus.NOT_FOUND:
        return ObjectNotFoundError(f"{place} does not exist")
    if changed and status in {
        HTTPStatus.PRECONDITION_FAILED,
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    }:
        return replaced(place)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return StorageUnavailableError(f"the object store did not give {place}: {code}")
    return StorageError(f"the object store refused to read {place}: {code}")


def replaced(place: S3Address) -> ConflictError:
    """The error of an object that is not what it was when it was opened."""
    return ConflictError(f"{place} was replaced while it was read; ask again for the new one")
