"""Texts of command lines that several commands take in the same way."""

from __future__ import annotations

import json
from typing import Any

import typer


def json_object(text: str, *, option: str) -> dict[str, Any]:
    """An object of JSON.

    Args:
        text: as it was given.
        option: its name, for the message.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"{option} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise typer.BadParameter(f"{option} is a JSON object")
    return content


def numbers_by_commas(text: str, *, option: str) -> tuple[int, ...] | None:
    """The numbers in a text such as "1,2,3"; None where it is empty.

    Raises:
        typer.BadParameter: something in it is no whole number.
    """
    try:
        return tuple(int(part) for part in text.split(",")) if text else None
    except ValueError as error:
        raise typer.BadParameter(f"{option} takes numbers separated by commas, not {text!r}") from error
