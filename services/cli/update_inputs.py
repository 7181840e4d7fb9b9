"""What commands that add a class read from files and words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from icss_core.errors import ClickError, InvalidParameterError
from icss_core.text_file import read_json

if TYPE_CHECKING:
    from pathlib import Path


def read_clicks(path: Path) -> dict[str, Any]:
    """A GeoJSON collection of clicks.

    Raises:
        ClickError: the file holds something else.
    """
    content = read_json(path, ClickError)
    if not isinstance(content, dict):
        raise ClickError(f"{path} must be a GeoJSON FeatureCollection")
    return content


def override_of(text: str) -> tuple[str, Any]:
    """`name=value` as a number or word of JSON, or a plain string.

    Raises:
        InvalidParameterError: there is no "=".
    """
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise InvalidParameterError(f"--set takes NAME=VALUE, not {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
