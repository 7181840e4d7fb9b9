"""From the histories of trials to rows of a table: means of classes, spread over seeds."""

from __future__ import annotations

import csv
import io
import json
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icss_core.dataset import BACKGROUND_CLASS
from services.tune.spread import Spread, percent
from services.tune.trial import short

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from icss_core.continual import TaskHistory
    from services.tune.continual.trial import ContinualTrial


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A method with its numbers on a protocol, over all its seeds; pooled IoU after the last task."""

    case: str
    variant: str
    values: dict[str, Any]
    """Varied numbers by path."""
    seeds: int
    groups: tuple[tuple[str, ...], ...]
    iou: dict[str, Spread | None]
    """By class, background first; None where the truth lacks the class."""
    of_groups: tuple[Spread | None, ...]
    """Means over the classes of each task."""
    later: Spread | None
    """Over the classes of all tasks but the first; None with one task."""
    mean: Spread
    """Over all classes without the background: what MiB calls "all"."""
    mean_with_background: Spread
    forgotten: Spread | None
    """Mean over classes of the best IoU after an earlier task less the last; None where it learnt at once."""
    by_task: tuple[Spread, ...]
    """Mean over all classes so far, without the background, after each task."""


def rows_of(trials: Sequence[ContinualTrial], results: Mapping[str, Sequence[TaskHistory]]) -> list[Row]:
    """One row for each case, variant and choice of numbers, in the order of cases.

    Args:
        trials: of a sweep.
        results: by trial id; trials without are left out.
    """
    found: dict[tuple[str, str, str], list[ContinualTrial]] = {}
    for trial in trials:
        if results.get(trial.trial_id):
            found.setdefault((trial.case, trial.variant, json.dumps(trial.values)), []).append(trial)
    rows = [_row(group, [results[one.trial_id][-1] for one in group]) for group in found.values()]
    order = list(dict.fromkeys(trial.case for trial in trials))
    return sorted(rows, key=lambda row: order.index(row.case))


def to_markdown(rows: Sequence[Row], *, question: str, notes: Sequence[str] = ()) -> str:
    """The table people read, a part for each case."""
    parts = [question, ""]
    for case in dict.fromkeys(row.case for row in rows):
        mine = [row for row in rows if row.case == case]
        groups = mine[0].groups
        varied = list(dict.fromkeys(path for row in mine for path in row.values))
        columns = ["method", *(path.rpartition(".")[2] for path in varied)]
        columns += [f"task {number}" for number in range(len(groups))]
        columns += ["later tasks"] * (len(groups) > 2) + ["all", "all, with background"]
        columns += ["forgotten"] * (len(groups) > 1) + ["seeds"]
        parts += [f"**{case}**", ""]
        parts += ["; ".join(f"task {number}: {', '.join(names)}" for number, names in enumerate(groups)), ""]
        parts += [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        for row in mine:
            cells = [row.variant, *(short(row.values.get(path)) for path in varied)]
            cells += [percent(one) for one in row.of_groups]
            cells += [percent(row.later)] * (len(groups) > 2)
            cells += [percent(row.mean), percent(row.mean_with_background)]
            cells += [percent(row.forgotten)] * (len(groups) > 1) + [str(row.seeds)]
            parts.append(f"| {' | '.join(cells)} |")
        parts.append("")
    parts.append(
        "IoU in per cent, pooled over the validation images, after the last task; means over classes without "
        "the background unless said; ± is the standard deviation over seeds. Forgotten: best after an "
        "earlier task less the last, mean over the classes of earlier tasks."
    )
    for note in notes:
        parts += ["", note]
    return "\n".join(parts) + "\n"


def to_csv(rows: Sequence[Row]) -> str:
    """The same numbers, as fractions, one line a row, with every class."""
    buffer = io.StringIO()
    classes = list(dict.fromkeys(name for row in rows for name in row.iou))
    varied = list(dict.fromkeys(path for row in rows for path in row.values))
    tasks = max((len(row.groups) for row in rows), default=0)
    writer = csv.writer(buffer, lineterminator="\n")
    fixed = [
        "case",
        "variant",
        "seeds",
        "mean",
        "mean_deviation",
        "mean_with_background",
        "later",
        "forgotten",
    ]
    writer.writerow(
        [
            *fixed,
            *(f"task_{number}" for number in range(tasks)),
            *(f"iou_{name}" for name in classes),
            *varied,
        ]
    )
    for row in rows:
        cells: list[Any] = [row.case, row.variant, row.seeds, row.mean.mean, row.mean.deviation]
        cells += [row.mean_with_background.mean, _mean_of(row.later), _mean_of(row.forgotten)]
        cells += [_mean_of(one) for one in (*row.of_groups, *[None] * (tasks - len(row.of_groups)))]
        cells += [_mean_of(row.iou.get(name)) for name in classes]
        writer.writerow([*cells, *(row.values.get(path) for path in varied)])
    return buffer.getvalue()


def _row(group: Sequence[ContinualTrial], histories: Sequence[TaskHistory]) -> Row:
    first = group[0]
    names = [name for names in first.groups for name in names]
    background = BACKGROUND_CLASS.name
    means = _over_seeds(histories, names)
    with_background = _over_seeds(histories, [background, *names])
    assert means is not None  # noqa: S101 - a protocol whose truth shows none of its classes has no report
    assert with_background is not None  # noqa: S101
    forgotten = [one.mean_forgetting for one in histories]
    return Row(
        case=first.case,
        variant=first.variant,
        values=first.values,
        seeds=len(group),
        groups=first.groups,
        iou={name: _over_seeds(histories, [name]) for name in (background, *names)},
        of_groups=tuple(_over_seeds(histories, members) for members in first.groups),
        later=_over_seeds(histories, [name for names in first.groups[1:] for name in names]),
        mean=means,
        mean_with_background=with_background,
        forgotten=_spread(forgotten),
        by_task=tuple(
            spread
            for task in range(min(len(one.iou) for one in histories))
            if (spread := _spread([one.means[task].all_without_background for one in histories])) is not None
        ),
    )


def _over_seeds(histories: Sequence[TaskHistory], names: Sequence[str]) -> Spread | None:
    """Mean IoU of some classes after the last task."""
    found = []
    for history in histories:
        known = [value for name in names if (value := history.iou[-1][name]) is not None]
        found.append(statistics.fmean(known) if known else None)
    return _spread(found)


def _spread(values: Iterable[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return Spread.of(known) if known else None


def _mean_of(spread: Spread | None) -> float | None:
    return None if spread is None else spread.mean
