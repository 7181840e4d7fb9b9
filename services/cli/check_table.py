"""What an ingest made of a data set, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

    from icss_core.labels import LabelSpace
    from services.ingest.check import CheckTable


def print_check(console: Console, table: CheckTable, classes: LabelSpace) -> None:
    """Print classes with their pixels, what stood in the masks, and what a person should know.

    Args:
        console: where to.
        table: of the ingest.
        classes: of the data set, whose colours are shown.
    """
    total = sum(row.pixels for row in table.classes) + table.ignored_pixels
    if total:
        console.print(_classes(table, classes, total))
    if table.readings:
        console.print(_readings(table))
    for warning in table.warnings:
        console.print(Text(f"look: {warning}", style="yellow"))


def _classes(table: CheckTable, classes: LabelSpace, total: int) -> Table:
    shown = Table(title=f"labels of {table.scenes - table.scenes_without_mask} of {table.scenes} scenes")
    shown.add_column("class")
    for column in ("pixels", "fraction", "scenes"):
        shown.add_column(column, justify="right")
    for row, info in zip(table.classes, classes.classes, strict=True):
        name = Text.assemble(("■ ", f"rgb({','.join(map(str, info.colour))})"), row.name)
        shown.add_row(name, f"{row.pixels:,}", _percent(row.pixels, total), str(row.scenes))
    shown.add_row("ignored", f"{table.ignored_pixels:,}", _percent(table.ignored_pixels, total), "")
    return shown


def _readings(table: CheckTable) -> Table:
    shown = Table(title="what stood in the masks")
    shown.add_column("in the files")
    shown.add_column("read as")
    shown.add_column("pixels", justify="right")
    for row in table.readings:
        shown.add_row(row.stands, Text(row.read_as), f"{row.pixels:,}")
    return shown


def _percent(part: int, whole: int) -> str:
    percent = 100 * part / whole
    return f"{percent:.1f} %" if percent >= 0.1 or not part else "< 0.1 %"
