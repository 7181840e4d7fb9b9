"""What a continual sweep found: the table, the plot and the pictures in its MLflow run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from services.data.dataset import read_dataset
from services.errors import TrackingError
from services.storage import Storage
from services.tune.continual.plot import plot_rows
from services.tune.continual.run import PROTOCOL_RUN
from services.tune.continual.table import Row, rows_of, to_csv, to_markdown
from services.tune.maps import maps_picture

if TYPE_CHECKING:
    from icss_core.continual import TaskHistory
    from services.settings import Settings
    from services.tracking import Tracking
    from services.tune.answer import Answer
    from services.tune.continual.spec import ContinualSweep
    from services.tune.continual.trial import ContinualTrial


def write_continual_answer(
    tracking: Tracking,
    parent: str,
    spec: ContinualSweep,
    answer: Answer[ContinualTrial, TaskHistory],
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
    if rows:
        tracking.write_bytes(parent, "plot.png", plot_rows(rows, spec.plot))
    storage = Storage(settings)
    for case in dict.fromkeys(trial.case for trial in answer.complete):
        mine: list[ContinualTrial] = [
            trial for trial in answer.complete if trial.case == case and trial.pictures
        ]
        if not mine:
            continue
        # of a variant with numbers that vary, the first choice is shown
        columns = {
            trial.variant: _protocol_run(tracking, answer.runs[trial.trial_id]) for trial in reversed(mine)
        }
        dataset = read_dataset(mine[0].run.dataset, storage)
        names = [name for names in mine[0].groups for name in names]
        ordered = dict(reversed(columns.items()))
        picture = maps_picture(tracking, ordered, dataset, names, amount=spec.pictures, storage=storage)
        if picture is not None:
            name = re.sub(r"[^A-Za-z0-9_.]+", "-", case)
            tracking.write_bytes(parent, f"pictures/{name}.png", picture)
    return rows


def _protocol_run(tracking: Tracking, run_id: str) -> str:
    """The run that keeps a trial's maps."""
    record = tracking.get(run_id)
    if record is None or PROTOCOL_RUN not in record.tags:
        raise TrackingError(f"trial {run_id} does not say which run its protocol was")
    return record.tags[PROTOCOL_RUN]
