"""Text as editors, spreadsheets and desktop GIS save it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from icss_core.errors import ClickError, DatasetError
from icss_core.text_file import read_json, read_plain_yaml, read_table, read_text

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "text"
    path.write_bytes("Straße 建物".encode(encoding))
    assert read_text(path, DatasetError) == "Straße 建物"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le"])
def test_another_encoding_is_refused_by_the_file_and_the_line(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "classes.yaml"
    path.write_bytes("- a\n- Straße\n".encode(encoding) + (b"\xd8" if encoding == "utf-16-le" else b""))
    with pytest.raises(ClickError, match=r"classes\.yaml is not UTF-8: byte 0x\w+ in line \d+; save it as"):
        read_text(path, ClickError)


def test_json_may_have_tabs_and_marks(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("\ufeff" + json.dumps({"a": [1]}, indent="\t"), encoding="utf-8")
    assert read_json(path, DatasetError) == {"a": [1]}
    path.write_text("{")
    with pytest.raises(DatasetError, match=r"a\.json is not JSON"):
        read_json(path, DatasetError)


def test_words_of_yaml_are_words(tmp_path: Path) -> None:
    path = tmp_path / "classes.yaml"
    path.write_text("- no\n- off\n- null\n- 2024-01-01\n- 1.0\n- {name: yes, colour: [1, 2, 3]}\n")
    assert read_plain_yaml(path, DatasetError) == [
        "no", "off", "null", "2024-01-01", "1.0", {"name": "yes", "colour": ["1", "2", "3"]}
    ]  # fmt: skip
    path.write_text("a:\n\t- b\n")
    with pytest.raises(DatasetError, match="by spaces, not tabs"):
        read_plain_yaml(path, DatasetError)


@pytest.mark.parametrize(
    "content",
    [
        "name,split\na,val\nb c,train\n",
        "\ufeffname,split\r\na,val\r\n\r\nb c,train\r\n",
        "name;split\r\na;val\r\nb c;train\r\n",
        "Split\tNote\tName\nval\tx, y\ta\ntrain\t\tb c\n",
        '\n"name", "split"\n"a", "val"\n"b c","train"\n;\n'.replace(";\n", ""),
        "name,split\ra,val\rb c,train\r",
    ],
    ids=["plain", "excel", "semicolons", "tabs", "quotes", "old mac"],
)
def test_a_table_is_read_as_spreadsheets_save_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "split.csv"
    path.write_bytes(content.encode())
    rows = read_table(path, ("name", "split"), DatasetError)
    assert [(row.values["name"], row.values["split"].strip('"')) for row in rows] == [
        ("a", "val"), ("b c", "train")
    ]  # fmt: skip


def test_a_table_without_its_columns_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    for content, first in (("scene|split\na|val\n", r"scene\|split"), ("", "''")):
        path.write_text(content)
        with pytest.raises(DatasetError, match=rf"columns name and split, .*its first line is .?{first}"):
            read_table(path, ("name", "split"), DatasetError)
