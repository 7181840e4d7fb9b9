"""One object of the store as a file that is read by ranges of bytes, the same bytes from first to last."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from services.errors import ConflictError, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from services.s3_address import S3Address

FIRST_BYTES: Final = 64 * 2**10
"""How much comes with the first request: the header of most images."""
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Part(NamedTuple):
    """What the store answered to a request for a range."""

    content: bytes
    content_range: str
    """Such as "bytes 0-99/12345"; empty where the content is the whole object."""
    tag: str
    """The ETag: another one whenever the object's content is another."""


class GetPart(Protocol):
    """Fetches part of an object."""

    def __call__(self, place: S3Address, offset: int, length: int, *, tag: str | None = None) -> Part:
        """At most `length` bytes from `offset` on.

        Raises:
            ObjectNotFoundError: there is no object.
            ConflictError: its tag is another, or it has no byte there.
            StorageError: the store refused or did not answer.
        """


@dataclass(frozen=True, slots=True)
class StoredFile:
    """See `icss_core.raster.remote.RemoteFile`.

    Its size is the one that the answer to a range names, whatever status that answer has: some stores answer
    with 200 instead of 206 (`rclone serve s3`). The tag of its content (ETag) is asked for with each request
    and looked at in each answer, as some stores do not know the condition: bytes of an object that was
    replaced meanwhile are an error, never part of an image.
    """

    address: str
    size: int
    start: bytes
    _place: S3Address
    _tag: str
    _get: GetPart
    _pool: Executor = field(repr=False)

    @classmethod
    def open(cls, place: S3Address, get: GetPart, pool: Executor) -> StoredFile:
        """Fetch the first bytes of an object.

        Args:
            place: where it is.
            get: fetches part of it.
            pool: its threads fetch several ranges at once.

        Raises:
            ObjectNotFoundError: there is none.
            StorageError: the store refused or did not answer, or does not serve ranges.
        """
        part = get(place, 0, FIRST_BYTES)
        span = _CONTENT_RANGE.fullmatch(part.content_range)
        size = int(span[3]) if span else len(part.content)
        return cls(str(place), size, part.content, place, part.tag, get, pool)

    def fetch(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each range (offset, length), several at a time.

        Raises:
            ConflictError: the object was replaced since it was opened.
            StorageError: the store refused or did not answer, or gave other bytes than asked for.
        """
        if len(ranges) == 1:
            return [self._part(ranges[0])]
        return list(self._pool.map(self._part, ranges))

    def _part(self, span: tuple[int, int]) -> bytes:
        offset, length = span
        if offset + length <= len(self.start):
            return self.start[offset : offset + length]
        wanted = f"bytes {offset}-{offset + length - 1}/{self.size}"
        part = self._get(self._place, offset, length, tag=self._tag)
        if part.tag != self._tag:
            raise replaced(self._place)
        if part.content_range != wanted or len(part.content) != length:
            raise StorageError(
                f"the object store gave {part.content_range or 'the whole'} of {self.address}, not {wanted}"
            )
        return part.content


def replaced(place: S3Address) -> ConflictError:
    """The error of an object that is not what it was when it was opened."""
    return ConflictError(f"{place} was replaced while it was read; ask again for the new one")
