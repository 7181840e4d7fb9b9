"""The table of a sweep. The kind of sweep says which columns it has."""

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
    """The mean IoU that the plot shows; the note below the table says over what."""

    def label(self, axis: str) -> str:
        """The name of its line in a plot: the variant and all varied numbers but the one on the axis."""
        apart = {path: value for path, value in self.values.items() if last_part(path) != axis}
        numbers = [f"{last_part(path)} {short(value)}" for path, value in apart.items()]
        return ", ".join([self.variant, *numbers])

    def position(self, axis: str) -> float | None:
        """Its place on the axis of a plot; None if it has no such number."""
        return next((float(value) for path, value in self.values.items() if last_part(path) == axis), None)

    @property
    def line_style(self) -> str:
        """Style of the horizontal line that shows a row without a position."""
        return ":"


AnyRow = TypeVar("AnyRow", bound=Row)


@dataclass(frozen=True, slots=True)
class Column(Generic[AnyRow]):
    """A column of a table."""

    title: str
    cell: Callable[[AnyRow], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLayout(Generic[AnyRow]):
    """The columns and notes that a kind of sweep has."""

    columns: Callable[[Sequence[AnyRow]], Sequence[Column[AnyRow]]]
    """Of the table for people, from the rows of one case. The method and its varied numbers come before."""
    csv_columns: Callable[[Sequence[AnyRow]], Sequence[Column[AnyRow]]]
    """Of the CSV, from all rows; IoU are fractions. The IoU of each class and varied numbers come after."""
    note: str
    """A paragraph below the table that says what its numbers are."""
    heading: Callable[[AnyRow], str] | None = None
    """Makes a line below the title of a case from any row of it."""


def group_seeds(
    trials: Sequence[AnyTrial], results: Mapping[str, Sequence[AnyResult]]
) -> list[list[AnyTrial]]:
    """Group the trials that differ only in their seed: a group is a row. Groups are in the order of cases.

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
    """The table for people, with a part for each case."""
    parts = [question, ""]
    for case in dict.fromkeys(row.case for row in rows):
        in_case = [row for row in rows if row.case == case]
        varied = _varied(in_case)
        columns = layout.columns(in_case)
        titles = ["method", *map(last_part, varied), *(column.title for column in columns)]
        parts += [f"**{case}**", ""]
        parts += [] if layout.heading is None else [layout.heading(in_case[0]), ""]
        parts += [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
        for row in in_case:
            cells = [row.variant, *(short(row.values.get(path)) for path in varied)]
            cells += [str(column.cell(row)) for column in columns]
            parts.append(f"| {' | '.join(cells)} |")
        parts.append("")
    parts.append(layout.note)
    for note in notes:
        parts += ["", note]
    return "\n".join(parts) + "\n"


def to_csv(rows: Sequence[AnyRow], layout: TableLayout[AnyRow]) -> str:
    """The table for programs, one line a row, with every class; a cell without a number is empty."""
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
