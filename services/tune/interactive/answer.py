"""What a sweep of sessions found: the table, the plot and the pictures in its MLflow run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from services.data.dataset import read_dataset
from services.storage import Storage
from services.tune.interactive.plot import plot_rows
from services.tune.interactive.table import Row, rows_of, to_csv, to_markdown
from services.tune.maps import maps_picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.evaluation import SessionScores
    from services.settings import Settings
    from services.tracking import Tracking
    from services.tune.answer import Answer
    from services.tune.interactive.spec import InteractiveSweep
    from services.tune.interactive.trial import InteractiveTrial


def write_interactive_answer(
    tracking: Tracking,
    parent: str,
    spec: InteractiveSweep,
    answer: Answer[InteractiveTrial, SessionScores],
    settings: Settings,
) -> list[Row]:
    """Write `table.md`, `table.csv`, `plot.png`, `trials.json` and `pictures/*.png` to the sweep's run.

    Raises:
        TrackingError: the server refused or did not answer.
    """
    rows = rows_of(answer.trials, answer.results)
    tracking.write_text(parent, "table.md", to_markdown(rows, question=spec.question, notes=answer.notes))
    tracking.write_text(parent, "table.csv", to_csv(rows))
    titles = {trial.title: answer.runs[trial.trial_id] for trial in answer.trials}
    tracking.write_json(parent, "trials.json", titles)
    if spec.plot is not None:
        tracking.write_bytes(parent, "plot.png", plot_rows(rows, spec.plot))
    storage = Storage(settings)
    for case in dict.fromkeys(trial.case for trial in answer.complete):
        mine = [trial for trial in answer.complete if trial.case == case]
        columns = {trial.variant: answer.runs[trial.trial_id] for trial in _of_one_setting(mine)}
        dataset = read_dataset(mine[0].dataset, storage)
        names = (*mine[0].old, mine[0].new)
        picture = maps_picture(tracking, columns, dataset, names, amount=spec.pictures, storage=storage)
        if picture is not None:
            name = re.sub(r"[^A-Za-z0-9_.]+", "-", case)
            tracking.write_bytes(parent, f"pictures/{name}.png", picture)
    return rows


def _of_one_setting(trials: Sequence[InteractiveTrial]) -> list[InteractiveTrial]:
    """One trial with maps per variant: the one with the most clicks, in the order of the table."""
    chosen: dict[str, InteractiveTrial] = {}
    for trial in trials:
        known = chosen.get(trial.variant)
        if trial.pictures and (known is None or trial.annotations > known.annotations):
            chosen[trial.variant] = trial
    return list(chosen.values())
