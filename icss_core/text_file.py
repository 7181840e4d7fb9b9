"""Text that people write, as editors and spreadsheets save it.

Every such file comes through here. A byte order mark is no part of the text, also that of UTF-16, which
Windows writes; line ends may be those of any system. Other encodings are refused by name: whoever guesses
them stores a class `StraÃŸe` one day.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from icss_core.errors import IcssError

_MARKS: Final = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_SEPARATORS: Final = (",", ";", "\t")
"""Of tables; spreadsheets write semicolons where a comma is decimal."""


class Row(NamedTuple):
    """One row of a table below its head."""

    line: int
    """In the file, from 1."""
    values: dict[str, str]
    """By column, without white space around them; empty where the row ends before."""


def read_text(path: Path, error: type[IcssError]) -> str:
    """The text of a file.

    Args:
        path: local file.
        error: what to raise.

    Raises:
        IcssError: of that class: the file is in another encoding than UTF-8, or UTF-16 with its mark.
    """
    return decoded(path.read_bytes(), str(path), error)


def decoded(content: bytes, name: str, error: type[IcssError]) -> str:
    """The text that the bytes of a file are.

    Args:
        content: the whole file.
        name: what messages call it.
        error: what to raise.

    Raises:
        IcssError: as `read_text`.
    """
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as failure:
        line = content.count(b"\n", 0, failure.start) + 1
        raise error(
            f"{name} is not UTF-8: byte {content[failure.start]:#04x} in line {line}; save it as UTF-8 (in "
            "Excel: 'CSV UTF-8')"
        ) from failure


def read_json(path: Path, error: type[IcssError]) -> Any:
    """The content of a JSON file.

    Raises:
        IcssError: of the class given: it is not JSON; or as `read_text`.
    """
    try:
        return json.loads(read_text(path, error))
    except (ValueError, RecursionError) as failure:
        raise error(f"{path} is not JSON: {failure}") from failure


def read_plain_yaml(path: Path, error: type[IcssError]) -> Any:
    """The content of a YAML file, every scalar as the text that stands there.

    YAML takes `no`, `off` and `null` for something else than words, and a class may be called so.

    Raises:
        IcssError: of the class given: it is not YAML; or as `read_text`.
    """
    text = read_text(path, error)
    try:
        return yaml.load(text, Loader=_LOADER)  # noqa: S506 - makes nothing but text, lists and mappings
    except yaml.YAMLError as failure:
        tabs = any(line.startswith("\t") for line in text.splitlines())
        hint = "; YAML is indented by spaces, not tabs" if tabs else ""
        raise error(f"{path} is not YAML: {failure}{hint}") from failure


def read_table(path: Path, columns: Sequence[str], error: type[IcssError]) -> list[Row]:
    """The rows of a table with a head, separated by commas, semicolons or tabs; empty rows left out.

    Args:
        path: local file.
        columns: that the head must have, in any order, case or company.
        error: what to raise.

    Raises:
        IcssError: of that class: a column is missing; or as `read_text`.
    """
    text = read_text(path, error)
    head = text.lstrip("\r\n").partition("\n")[0].strip()
    for separator in _SEPARATORS:
        cells_of = io.StringIO(text, newline="")
        reader = csv.reader(cells_of, delimiter=separator, skipinitialspace=True)
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
        names = [cell.strip().casefold() for cell in lines[0][1]] if lines else []
        if set(columns) <= set(names):
            return [
                Row(line, {name: cell.strip() for name, cell in zip(names, cells, strict=False)})
                for line, cells in lines[1:]
            ]
    raise error(
        f"{path} must have the columns {' and '.join(columns)}, separated by commas, semicolons or tabs; its "
        f"first line is {head!r:.80}"
    )
