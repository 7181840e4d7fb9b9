"""From the sessions of trials to rows of a table: means over images, spread over seeds."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from services.tune.interactive.means import means_of
from services.tune.spread import Spread, percent
from services.tune.table import Column, Row, TableLayout, group_seeds, mean_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from icss_core.evaluation import SessionScores
    from services.tune.interactive.trial import InteractiveTrial, What


@dataclass(frozen=True, kw_only=True)
class InteractiveRow(Row):
    """A row of an interactive sweep: IoU at the end of the sessions, as means over images.

    `mean` includes the background.
    """

    what: What
    annotations: int
    """Clicks of each class; 0 for memory and control network."""
    images: int
    best: Spread | None
    """Mean IoU if each session had ended with its best network of the second half: nobody knows which one
    without the ground truth."""
    below: int | None
    """Sessions that end below the memory network's mean IoU on their image; None where that is unknown."""
    sessions: int
    of_control: float | None
    """The mean IoU as a fraction of the control network's."""
    seconds: float
    """That an update takes."""

    def label(self, axis: str) -> str:
        """As of any row, and the number of clicks, which makes another line."""
        label = Row.label(self, axis)
        return f"{label}, {self.annotations} clicks" if axis != "annotations" and self._is_session else label

    def position(self, axis: str) -> float | None:
        """As of any row; memory and control network have none: they are levels to compare with."""
        if not self._is_session:
            return None
        return float(self.annotations) if axis == "annotations" else Row.position(self, axis)

    @property
    def line_style(self) -> str:
        """Dotted for the control network, dashed for the memory network."""
        return {"control": ":", "memory": "--", "session": "-."}[self.what]

    @property
    def _is_session(self) -> bool:
        return self.what == "session"


def _columns(rows: Sequence[InteractiveRow]) -> list[Column[InteractiveRow]]:
    classes = dict.fromkeys(name for row in rows for name in row.iou)
    return [
        Column("clicks", lambda row: row.annotations or "-"),
        *map(_iou_column, classes),
        Column("mean", lambda row: row.mean.percent()),
        Column("best of last half", lambda row: percent(row.best)),
        Column("of control", lambda row: "-" if row.of_control is None else f"{row.of_control:.0%}"),
        Column("below memory", lambda row: "-" if row.below is None else f"{row.below} of {row.sessions}"),
        Column("images x seeds", lambda row: f"{row.images} x {row.seeds}"),
        Column("s", lambda row: f"{row.seconds:.0f}" if row.seconds else "-"),
    ]


def _iou_column(name: str) -> Column[InteractiveRow]:
    return Column(name, lambda row: percent(row.iou.get(name)))


def _csv_columns(_: Sequence[InteractiveRow]) -> list[Column[InteractiveRow]]:
    return [
        Column("what", lambda row: row.what),
        Column("annotations", lambda row: row.annotations),
        Column("images", lambda row: row.images),
        Column("best", lambda row: mean_of(row.best)),
        Column("best_deviation", lambda row: None if row.best is None else row.best.deviation),
        Column("below", lambda row: row.below),
        Column("sessions", lambda row: row.sessions),
        Column("of_control", lambda row: row.of_control),
        Column("seconds", lambda row: row.seconds),
    ]


INTERACTIVE_TABLE: Final = TableLayout(
    columns=_columns,
    csv_columns=_csv_columns,
    note=(
        "IoU in per cent, image-wise, background included in the mean; last round unless said; ± is the "
        "standard deviation over seeds. Best of last half: the best look in the last half of each session, "
        "chosen by its score on the full truth."
    ),
)


def rows_of(
    trials: Sequence[InteractiveTrial], results: Mapping[str, Sequence[SessionScores]]
) -> list[InteractiveRow]:
    """One row for each pair, variant, choice of numbers and number of clicks.

    Args:
        trials: of a sweep.
        results: by trial id; trials without are left out.
    """
    floors = {
        (trial.case, one.image): one.last.mean
        for trial in trials
        if trial.what == "memory"
        for one in results.get(trial.trial_id, ())
    }
    ceilings = {
        trial.case: means_of(results[trial.trial_id])["mean_iou"]
        for trial in trials
        if trial.what == "control" and results.get(trial.trial_id)
    }
    return [
        _row(group, [results[one.trial_id] for one in group], floors, ceilings.get(group[0].case))
        for group in group_seeds(trials, results)
    ]


def _row(
    group: Sequence[InteractiveTrial],
    results: Sequence[Sequence[SessionScores]],
    floors: Mapping[tuple[str, str], float | None],
    ceiling: float | None,
) -> InteractiveRow:
    """The row of trials that differ in their seed.

    Args:
        group: the trials.
        results: of each trial, by image.
        floors: mean IoU of the memory network, by case and image.
        ceiling: mean IoU of the control network over the images of the case; None: it was not scored.
    """
    first = group[0]
    means = [means_of(one) for one in results]
    sessions = [one for seed in results for one in seed]
    mean = Spread.of([one["mean_iou"] for one in means])
    return InteractiveRow(
        case=first.case,
        variant=first.variant,
        what=first.what,
        values=first.values,
        annotations=first.annotations,
        seeds=len(group),
        images=max(len(one) for one in results),
        iou={
            key.removeprefix("iou/"): Spread.of_some([one.get(key) for one in means])
            for key in means[0]
            if key.startswith("iou/")
        },
        mean=mean,
        best=Spread.of_some([one.get("best_mean_iou") for one in means]),
        below=_below(first, sessions, floors),
        sessions=len(sessions),
        of_control=None if not ceiling else mean.mean / ceiling,
        seconds=statistics.mean(one["seconds"] for one in means),
    )


def _below(
    trial: InteractiveTrial,
    sessions: Sequence[SessionScores],
    floors: Mapping[tuple[str, str], float | None],
) -> int | None:
    """Sessions that end below the memory network on their image; None if that was not scored everywhere."""
    floor_of = [floors.get((trial.case, one.image)) for one in sessions]
    if trial.what != "session" or None in floor_of:
        return None
    return sum((one.last.mean or 0.0) < (floor or 0.0) for one, floor in zip(sessions, floor_of, strict=True))
