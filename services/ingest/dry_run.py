"""An ingest that stores nothing: for looking at what would become of a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from services.ingest.check import PICTURE_FILE, TABLE_FILE, CheckTable

if TYPE_CHECKING:
    from pathlib import Path

PREFIX: Final = "s3://dry-run/set"
"""Where a data set pretends to go."""


class DryRun:
    """`services.ingest.writer.Target` that keeps nothing but the table and the picture."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def check_allowed(self, uri: str) -> str:
        """Every address is allowed: nothing is written."""
        return uri

    def write_bytes(self, uri: str, content: bytes, *, content_type: str | None = None) -> str:
        """Keep the table and the picture; forget everything else."""
        del content_type
        name = uri.removeprefix(f"{PREFIX}/")
        if name in {TABLE_FILE, PICTURE_FILE}:
            self._kept[name] = content
        return uri

    def upload(self, path: Path, uri: str) -> str:
        """Forget a file."""
        del path
        return uri

    @property
    def table(self) -> CheckTable:
        """Of the data set that was finished."""
        return CheckTable.model_validate_json(self._kept[TABLE_FILE])

    @property
    def picture(self) -> bytes | None:
        """PNG of the data set that was finished; None where it has no mask."""
        return self._kept.get(PICTURE_FILE)
