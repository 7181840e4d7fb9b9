"""From the sessions of trials to rows of a table: means over images, spread over seeds."""

from __future__ import annotations

import csv
import io
import json
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.tune.interactive.means import means_of
from services.tune.spread import Spread, percent
from services.tune.trial import short

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from icss_core.evaluation import SessionScores
    from services.tune.interactive.trial import InteractiveTrial


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A method with its numbers on a pair of classes, over all its seeds."""

    pair: str
    variant: str
    what: str
    """session, memory or control."""
    values: dict[str, Any]
    """Varied numbers by path."""
    annotations: int
    seeds: int
    images: int
    iou: dict[str, Spread]
    """Image-wise, by class."""
    mean: Spread
    """Image-wise mean IoU, background included, after the last round."""
    best: Spread | None
    """The same for the best look in the last half: an oracle's choice."""
    below: int | None
    """Sessions that end below the memory network's mean IoU on their image; None where that is unknown."""
    sessions: int
    of_control: float | None
    """Share of the control network's mean IoU."""
    seconds: float
    """Of an update."""


def rows_of(trials: Sequence[InteractiveTrial], results: Mapping[str, Sequence[SessionScores]]) -> list[Row]:
    """One row for each pair, variant, choice of numbers and amount of clicks, in the order of the trials.

    Args:
        trials: of a sweep.
        results: by trial id; trials without are left out.
    """
    groups: dict[tuple[Any, ...], list[InteractiveTrial]] = {}
    for trial in trials:
        if results.get(trial.trial_id):
            key = (trial.case, trial.variant, json.dumps(trial.values), trial.annotations)
            groups.setdefault(key, []).append(trial)
    floors = {
        (trial.case, one.image): one.last.mean
        for trial in trials
        if trial.what == "memory"
        for one in results.get(trial.trial_id, ())
    }
    ceilings = {
        trial.case: means_of(list(results[trial.trial_id]))["mean_iou"]
        for trial in trials
        if trial.what == "control" and results.get(trial.trial_id)
    }
    return [
        _row(group, [list(results[one.trial_id]) for one in group], floors, ceilings.get(group[0].case))
        for group in groups.values()
    ]


def to_markdown(rows: Sequence[Row], *, question: str, notes: Sequence[str] = ()) -> str:
    """The table people read, a part for each pair of classes."""
    parts = [question, ""]
    for pair in dict.fromkeys(row.pair for row in rows):
        mine = [row for row in rows if row.pair == pair]
        classes = list(dict.fromkeys(name for row in mine for name in row.iou))
        varied = list(dict.fromkeys(path for row in mine for path in row.values))
        columns = ["method", *(path.rpartition(".")[2] for path in varied), "clicks", *classes, "mean"]
        columns += ["best of last half", "of control", "below memory", "images x seeds", "s"]
        parts += [f"**{pair}**", "", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        for row in mine:
            cells = [row.variant, *(short(row.values.get(path)) for path in varied)]
            cells += [str(row.annotations or "-"), *(percent(row.iou.get(name)) for name in classes)]
            cells += [row.mean.percent(), percent(row.best)]
            cells += ["-" if row.of_control is None else f"{row.of_control:.0%}"]
            cells += ["-" if row.below is None else f"{row.below} of {row.sessions}"]
            cells += [f"{row.images} x {row.seeds}", f"{row.seconds:.0f}" if row.seconds else "-"]
            parts.append(f"| {' | '.join(cells)} |")
        parts.append("")
    parts.append(
        "IoU in per cent, image-wise, background included in the mean; last round unless said; ± is the "
        "standard deviation over seeds. Best of last half: the best look in the last half of each session, "
        "chosen by its score on the full truth."
    )
    for note in notes:
        parts += ["", note]
    return "\n".join(parts) + "\n"


def to_csv(rows: Sequence[Row]) -> str:
    """The same numbers, as fractions, one line a row."""
    buffer = io.StringIO()
    classes = list(dict.fromkeys(name for row in rows for name in row.iou))
    varied = list(dict.fromkeys(path for row in rows for path in row.values))
    fixed = ["pair", "variant", "what", "annotations", "seeds", "images", "mean", "mean_deviation", "best"]
    fixed += ["best_deviation", "below", "sessions", "of_control", "seconds"]
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*fixed, *(f"iou_{name}" for name in classes), *varied])
    for row in rows:
        best = (None, None) if row.best is None else (row.best.mean, row.best.deviation)
        cells: list[Any] = [row.pair, row.variant, row.what, row.annotations, row.seeds, row.images]
        cells += [row.mean.mean, row.mean.deviation, *best, row.below, row.sessions, row.of_control]
        cells += [row.seconds, *(row.iou[name].mean if name in row.iou else None for name in classes)]
        writer.writerow([*cells, *(row.values.get(path) for path in varied)])
    return buffer.getvalue()


def _row(
    group: Sequence[InteractiveTrial],
    results: Sequence[list[SessionScores]],
    floors: Mapping[tuple[str, str], float | None],
    ceiling: float | None,
) -> Row:
    first = group[0]
    means = [means_of(one) for one in results]
    sessions = [one for seed in results for one in seed]
    mean = Spread.of([one["mean_iou"] for one in means])
    bests = [one["best_mean_iou"] for one in means if "best_mean_iou" in one]
    return Row(
        pair=first.case,
        variant=first.variant,
        what=first.what,
        values=first.values,
        annotations=first.annotations,
        seeds=len(group),
        images=max(len(one) for one in results),
        iou={
            key.removeprefix("iou/"): Spread.of([one[key] for one in means if key in one])
            for key in means[0]
            if key.startswith("iou/")
        },
        mean=mean,
        best=Spread.of(bests) if bests else None,
        below=_below(first, sessions, floors),
        sessions=len(sessions),
        of_control=None if not ceiling else mean.mean / ceiling,
        seconds=statistics.mean(one["seconds"] for one in means),
    )


def _below(
    trial: InteractiveTrial, sessions: Sequence[SessionScores], floors: Mapping[tuple[str, str], float | None]
) -> int | None:
    mine = [floors.get((trial.case, one.image)) for one in sessions]
    if trial.what != "session" or None in mine:
        return None
    return sum((one.last.mean or 0.0) < (floor or 0.0) for one, floor in zip(sessions, mine, strict=True))
