"""Names of files and models, from titles."""

from __future__ import annotations

import re


def plain_name(title: str) -> str:
    """The title with dashes in place of everything but English letters, digits, underscores and dots."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", title)
