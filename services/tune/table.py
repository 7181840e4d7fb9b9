"""The table of a sweep: a row for each method with its numbers, its columns as the kind of sweep says."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from services.tune.trial import last_part, short

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from services.tune.answer import AnyResult
    from services.tune.spread import Spread
    from services.tune.trial import AnyTrial


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method with its numbers on one case, over all its seeds."""

    case: str
    variant: str
    values: Mapping[str, Any]
    """Varied numbers by path."""
    seeds: int
    iou: Mapping[str, Spread | None]
    """By class; None where the truth lacks the class."""
    mean: Spread
    """The mean IoU by which rows are compared, as the table's note says."""

    def label(self, axis: str) -> str:
        """Name of the line in a plot that the row is a point of: all that sets it apart, but for the axis."""
        apart = {path: value for path, value in self.values.items() if last_part(path) != axis}
        numbers = [f"{last_part(path)} {short(value)}" for path, value in apart.items()]
        return ", ".join([self.variant, *numbers])

    def position(self, axis: str) -> float | None:
        """Where the row lies on the axis of a plot; None where it lacks that number."""
        return next((float(value) for path, value in self.values.items() if last_part(path) == axis), None)

    @property
    def line_style(self) -> str:
        """Of the horizontal line that stands for a row without a position."""
        return ":"


AnyRow = TypeVar("AnyRow", bound=Row)


@dataclass(frozen=True, slots=True)
class Column(Generic[AnyRow]):
    """A column of a table."""

    title: str
    cell: Callable[[AnyRow], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLayout(Generic[AnyRow]):
    """What a kind of sweep shows of its rows."""

    columns: Callable[[Sequence[AnyRow]], Sequence[Column[AnyRow]]]
    """For people, of the rows of one case; they follow the method and its varied numbers."""
    csv_columns: Callable[[Sequence[AnyRow]], Sequence[Column[AnyRow]]]
    """For programs, of all rows, IoU as fractions; classes and varied numbers follow them."""
    note: str
    """What the numbers are; below the table."""
    heading: Callable[[AnyRow], str] | None = None
    """A line below the title of a case, from any of its rows."""


def group_seeds(
    trials: Sequence[AnyTrial], results: Mapping[str, Sequence[AnyResult]]
) -> list[list[AnyTrial]]:
    """Trials that differ in nothing but their seed, which make a row; in the order of the cases.

    Args:
        trials: of a sweep.
        results: by trial id; trials without are left out.
    """
    groups: dict[tuple[str, ...], list[AnyTrial]] = {}
    for trial in trials:
        if results.get(trial.trial_id):
            groups.setdefault(trial.row_key, []).append(trial)
    order = list(dict.fromkeys(trial.case for trial in trials))
    return sorted(groups.values(), key=lambda group: order.index(group[0].case))


def to_markdown(
    rows: Sequence[AnyRow], layout: TableLayout[AnyRow], *, question: str, notes: Sequence[str] = ()
) -> str:
    """The table people read, a part for each case."""
    parts = [question, ""]
    for case in dict.fromkeys(row.case for row in rows):
        mine = [row for row in rows if row.case == case]
        varied = _varied(mine)
        columns = layout.columns(mine)
        titles = ["method", *map(last_part, varied), *(column.title for column in columns)]
        parts += [f"**{case}**", ""]
        parts += [] if layout.heading is None else [layout.heading(mine[0]), ""]
        parts += [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
        for row in mine:
            cells = [row.variant, *(short(row.values.get(path)) for path in varied)]
            cells += [str(column.cell(row)) for column in columns]
            parts.append(f"| {' | '.join(cells)} |")
        parts.append("")
    parts.append(layout.note)
    for note in notes:
        parts += ["", note]
    return "\n".join(parts) + "\n"


def to_csv(rows: Sequence[AnyRow], layout: TableLayout[AnyRow]) -> str:
    """The same numbers as fractions, one line a row, with every class; empty where there is none."""
    varied, columns = _varied(rows), layout.csv_columns(rows)
    classes = list(dict.fromkeys(name for row in rows for name in row.iou))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    titles = ["case", "variant", "seeds", "mean", "mean_deviation", *(column.title for column in columns)]
    writer.writerow([*titles, *(f"iou_{name}" for name in classes), *varied])
    for row in rows:
        cells: list[object] = [row.case, row.variant, row.seeds, row.mean.mean, row.mean.deviation]
        cells += [column.cell(row) for column in columns]
        cells += [mean_of(row.iou.get(name)) for name in classes]
        writer.writerow([*cells, *(row.values.get(path) for path in varied)])
    return buffer.getvalue()


def mean_of(spread: Spread | None) -> float | None:
    """The mean alone, as a fraction."""
    return None if spread is None else spread.mean


def _varied(rows: Sequence[Row]) -> list[str]:
    """Paths of the numbers that vary in any of the rows."""
    return list(dict.fromkeys(path for row in rows for path in row.values))
