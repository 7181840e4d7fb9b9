"""Writing the answer of a sweep to its MLflow run: the table, the plot and the pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.data.dataset import read_dataset
from services.storage import Storage
from services.tune.maps import maps_picture
from services.tune.plain_name import plain_name
from services.tune.table import to_csv, to_markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.settings import Settings
    from services.tracking import Tracking
    from services.tune.answer import Answer, AnyResult
    from services.tune.spec import AnySpec
    from services.tune.sweep_kind import SweepKind
    from services.tune.table import AnyRow
    from services.tune.trial import AnyTrial


def write_answer(
    kind: SweepKind[AnySpec, AnyTrial, AnyResult, AnyRow],
    tracking: Tracking,
    parent: str,
    spec: AnySpec,
    answer: Answer[AnyTrial, AnyResult],
    settings: Settings,
) -> Sequence[AnyRow]:
    """Write `table.md`, `table.csv`, `plot.png`, `trials.json` and `pictures/*.png` to the sweep's run.

    Args:
        kind: of the sweep.
        tracking: the MLflow server.
        parent: run of the sweep.
        spec: the sweep.
        answer: results of its trials.
        settings: of the services.

    Returns:
        The rows of the table.

    Raises:
        TrackingError: the server refused or did not answer.
        IcssError: an image of a data set cannot be read.
    """
    rows = kind.rows(answer.trials, answer.results)
    table = to_markdown(rows, kind.table, question=spec.question, notes=answer.notes)
    tracking.write_text(parent, "table.md", table)
    tracking.write_text(parent, "table.csv", to_csv(rows, kind.table))
    titles = {trial.title: answer.runs[trial.trial_id] for trial in answer.trials}
    tracking.write_json(parent, "trials.json", titles)
    plot = kind.plot(rows, spec.plot) if rows else None
    if plot is not None:
        tracking.write_bytes(parent, "plot.png", plot)
    storage = Storage(settings)
    for case in dict.fromkeys(trial.case for trial in answer.complete):
        shown = _one_of_each_variant([trial for trial in answer.complete if trial.case == case])
        if not shown:
            continue
        columns = {trial.variant: kind.run_of_maps(tracking, answer.runs[trial.trial_id]) for trial in shown}
        dataset = read_dataset(shown[0].dataset_address, storage)
        picture = maps_picture(
            tracking, columns, dataset, shown[0].classes, limit=spec.pictures, storage=storage
        )
        if picture is not None:
            tracking.write_bytes(parent, f"pictures/{plain_name(case)}.png", picture)
    return rows


def _one_of_each_variant(trials: Sequence[AnyTrial]) -> list[AnyTrial]:
    """For each variant the trial whose class maps are shown; variants without any map are left out."""
    chosen: dict[str, AnyTrial] = {}
    for trial in trials:
        if not trial.pictures:
            continue
        best = chosen.setdefault(trial.variant, trial)
        if trial.picture_rank > best.picture_rank:
            chosen[trial.variant] = trial
    return list(chosen.values())
