"""From the histories of trials to rows of a table: means of classes, spread over seeds."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from icss_core.dataset import BACKGROUND_CLASS
from services.tune.spread import Spread, percent
from services.tune.table import Column, Row, TableLayout, group_seeds, mean_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from icss_core.continual import TaskHistory, WeightedScore
    from services.tune.continual.trial import ContinualTrial


@dataclass(frozen=True, kw_only=True)
class ContinualRow(Row):
    """A row of a continual sweep: IoU after the last task, pooled over the validation images.

    `iou` has the background first; `mean` is over all other classes, which MiB calls "all".
    """

    groups: tuple[tuple[str, ...], ...]
    """The classes of each task."""
    of_groups: tuple[Spread | None, ...]
    """Means over the classes of each task."""
    later: Spread | None
    """Mean over the classes of all tasks but the first; None if there is one task only."""
    mean_with_background: Spread
    forgotten: Spread | None
    """Mean over classes of what each lost: its best IoU after an earlier task less that after the last task.
    None where all classes were learnt at once."""
    by_task: tuple[Spread, ...]
    """After each task, the mean over all classes learnt by then, without the background."""
    score: WeightedScore | None
    """What the protocol is ranked by; None where that is nothing but means."""
    score_reached: Spread | None
    """That score after the last task."""


def _columns(rows: Sequence[ContinualRow]) -> list[Column[ContinualRow]]:
    n_tasks = len(rows[0].groups)
    columns = [_task_column(task) for task in range(n_tasks)]
    if n_tasks > 2:
        columns.append(Column("later tasks", lambda row: percent(row.later)))
    columns.append(Column("all", lambda row: row.mean.percent()))
    columns.append(Column("all, with background", lambda row: row.mean_with_background.percent()))
    columns += map(_score_column, _score_keys(rows))
    if n_tasks > 1:
        columns.append(Column("forgotten", lambda row: percent(row.forgotten)))
    return [*columns, Column("seeds", lambda row: row.seeds)]


def _task_column(task: int) -> Column[ContinualRow]:
    return Column(f"task {task}", lambda row: percent(row.of_groups[task]))


def _score_column(key: str) -> Column[ContinualRow]:
    return Column(key, lambda row: percent(_score_called(key, row)))


def _score_csv_column(key: str) -> Column[ContinualRow]:
    return Column(key, lambda row: mean_of(_score_called(key, row)))


def _score_called(key: str, row: ContinualRow) -> Spread | None:
    # rows of other cases may have another score, or none
    return row.score_reached if row.score is not None and row.score.key == key else None


def _score_keys(rows: Sequence[ContinualRow]) -> list[str]:
    return list(dict.fromkeys(row.score.key for row in rows if row.score is not None))


def _csv_columns(rows: Sequence[ContinualRow]) -> list[Column[ContinualRow]]:
    n_tasks = max((len(row.groups) for row in rows), default=0)
    return [
        Column("mean_with_background", lambda row: row.mean_with_background.mean),
        Column("later", lambda row: mean_of(row.later)),
        Column("forgotten", lambda row: mean_of(row.forgotten)),
        *map(_score_csv_column, _score_keys(rows)),
        *map(_task_csv_column, range(n_tasks)),
    ]


def _task_csv_column(task: int) -> Column[ContinualRow]:
    # rows of other cases may have fewer tasks
    return Column(f"task_{task}", lambda row: mean_of(next(iter(row.of_groups[task : task + 1]), None)))


def _heading(row: ContinualRow) -> str:
    tasks = [f"task {number}: {', '.join(names)}" for number, names in enumerate(row.groups)]
    return "; ".join([*tasks, *([] if row.score is None else [str(row.score)])])


CONTINUAL_TABLE: Final = TableLayout(
    columns=_columns,
    csv_columns=_csv_columns,
    heading=_heading,
    note=(
        "IoU in per cent, pooled over the validation images, after the last task; means over classes without "
        "the background unless said; ± is the standard deviation over seeds. Forgotten: best after an "
        "earlier task less the last, mean over the classes of earlier tasks."
    ),
)


def rows_of(
    trials: Sequence[ContinualTrial], results: Mapping[str, Sequence[TaskHistory]]
) -> list[ContinualRow]:
    """One row for each case, variant and choice of numbers.

    Args:
        trials: of a sweep.
        results: by trial id; trials without are left out.
    """
    groups = group_seeds(trials, results)
    return [_row(group, [results[one.trial_id][-1] for one in group]) for group in groups]


def _row(group: Sequence[ContinualTrial], histories: Sequence[TaskHistory]) -> ContinualRow:
    first = group[0]
    background = BACKGROUND_CLASS.name
    mean = _over_seeds(histories, first.classes)
    with_background = _over_seeds(histories, [background, *first.classes])
    assert mean is not None  # noqa: S101 - a protocol whose truth shows none of its classes has no report
    assert with_background is not None  # noqa: S101
    n_tasks = min(len(one.iou) for one in histories)
    by_task = [
        Spread.of_some([one.means[task].all_without_background for one in histories])
        for task in range(n_tasks)
    ]
    return ContinualRow(
        case=first.case,
        variant=first.variant,
        values=first.values,
        seeds=len(group),
        groups=first.groups,
        iou={name: _over_seeds(histories, [name]) for name in (background, *first.classes)},
        of_groups=tuple(_over_seeds(histories, members) for members in first.groups),
        later=_over_seeds(histories, [name for names in first.groups[1:] for name in names]),
        mean=mean,
        mean_with_background=with_background,
        forgotten=Spread.of_some([one.mean_forgetting for one in histories]),
        by_task=tuple(spread for spread in by_task if spread is not None),
        score=histories[0].score,
        score_reached=Spread.of_some([one.scores[-1] for one in histories]),
    )


def _over_seeds(histories: Sequence[TaskHistory], names: Sequence[str]) -> Spread | None:
    """Mean IoU over some classes after the last task; None where the truth shows none of them."""
    means = []
    for history in histories:
        shown = [value for name in names if (value := history.iou[-1][name]) is not None]
        means.append(statistics.fmean(shown) if shown else None)
    return Spread.of_some(means)
