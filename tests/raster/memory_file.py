"""A remote file whose bytes are in memory, and which counts what it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemoryRemote:
    """See `icss_core.raster.remote.RemoteFile`; raises `error`, if there is one, after `fails` requests."""

    def __init__(
        self, content: bytes, *, start: int = 64, error: Exception | None = None, fails: int = 0
    ) -> None:
        self.address = "s3://here/image"
        self.content = content
        self.size = len(content)
        self.start = content[:start]
        self.error = error
        self.fails = fails
        self.asked: list[list[tuple[int, int]]] = []

    def fetch(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        self.asked.append(list(ranges))
        if self.error is not None and len(self.asked) > self.fails:
            raise self.error
        for offset, length in ranges:
            assert length > 0
            assert 0 <= offset <= offset + length <= self.size
        return [self.content[offset : offset + length] for offset, length in ranges]
