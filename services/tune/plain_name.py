"""Names of files and models, from titles."""

from __future__ import annotations

import re


def plain_name(title: str) -> str:
    """The title with a dash for all that is no letter of English, digit, underscore or dot."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", title)
