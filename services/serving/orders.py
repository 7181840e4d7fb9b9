"""An update as it was accepted: everything needed to carry it out, now or again after a crash."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue

from icss_core.labels import ClassInfo


class UpdateOrder(BaseModel):
    """A checked update request in which nothing is left to be looked up.

    Aliases are version numbers here, uploads are addresses, the preset's numbers are written out: carrying
    out the same order twice gives the same network, whatever has happened to the aliases since.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    base_version: int
    image: str
    new_class: ClassInfo
    clicks: dict[str, JsonValue]
    crs: str | None
    click_counts: dict[str, int]
    preset: str
    overrides: dict[str, JsonValue]
    parameters: dict[str, Any]
    seed: int

    def fingerprint(self) -> str:
        """Hash (hex, 64 characters) that two orders share exactly if they ask for the same."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
