"""One object of the store as a file that is read by ranges of bytes, the same bytes from first to last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from services.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from services.object_ranges import ObjectRanges
    from services.s3_address import S3Address

FIRST_BYTES: Final = 64 * 2**10
"""How much comes with the first request: the header of most images."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """See `icss_core.raster.remote.RemoteFile`.

    The tag of its content is asked for with each request, so that bytes of an object that was replaced
    meanwhile are an error and never part of an image.
    """

    place: S3Address
    size: int
    start: bytes
    tag: str
    ranges: ObjectRanges
    pool: Executor
    """Its threads fetch several ranges at once."""

    @classmethod
    def open(cls, place: S3Address, ranges: ObjectRanges, pool: Executor) -> StoredFile:
        """Fetch the first bytes of an object.

        Raises:
            ObjectNotFoundError: there is none.
            StorageError: the store refused or did not answer.
        """
        first = ranges.get(place, 0, FIRST_BYTES)
        return cls(place, first.size, first.content, first.tag, ranges, pool)

    @property
    def address(self) -> str:
        """Where it is."""
        return str(self.place)

    def fetch(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each range (offset, length), several at a time.

        Raises:
            ConflictError: the object was replaced since it was opened.
            StorageError: the store refused or did not answer.
        """
        if len(ranges) == 1:
            return [self._part(ranges[0])]
        return list(self.pool.map(self._part, ranges))

    def _part(self, span: tuple[int, int]) -> bytes:
        offset, length = span
        if offset + length <= len(self.start):
            return self.start[offset : offset + length]
        content = self.ranges.get(self.place, offset, length, tag=self.tag).content
        if len(content) != length:
            raise StorageError(f"{self.address} has no {length} bytes from {offset} on")
        return content
