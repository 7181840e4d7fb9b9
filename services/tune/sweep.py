"""A sweep from end to end: networks, trials, and the answer in its MLflow run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from services.errors import TrainingError
from services.revision import code_revision
from services.tracking import Tracking
from services.tune.answer import gather
from services.tune.kinds import KINDS
from services.tune.records import SweepRecords
from services.tune.search import run_on_tune

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.settings import Settings
    from services.tune.spec import SweepSpec
    from services.tune.trial import Trial

_logger = logging.getLogger(__name__)


def run_sweep(spec: SweepSpec, datasets: Mapping[str, str], settings: Settings) -> tuple[str, list[str]]:
    """Run what is left of a sweep and write its answer.

    Ray must be initialised. A sweep that is submitted again goes on where it stopped: networks and trials
    that are done are found, a trial that was interrupted goes on with its next image or step, one that failed
    is tried again.

    Args:
        spec: the sweep.
        datasets: address of the dataset.yaml by the names that the pairs use.
        settings: of the services.

    Returns:
        Id of its MLflow run, and the titles of the trials that failed: the answer lacks them.

    Raises:
        InvalidParameterError, DatasetError: a data set has no address or cannot answer the question.
        TrainingError: the sweep was interrupted; submit it again.
        IcssError: a server did not answer.
    """
    kind = KINDS[spec.protocol]
    trials = kind.plan(spec, datasets, settings)
    records = SweepRecords(Tracking(settings), revision=code_revision(settings))
    parent, identity = records.open_sweep(spec, trials)
    try:
        runs = {trial.trial_id: records.run_of(trial, parent=parent) for trial in trials}
        # two variants may ask the same: done once
        distinct = {trial.trial_id: trial for trial in trials}.values()
        left = [trial for trial in distinct if not records.done(runs[trial.trial_id], identity)]
        _logger.info("sweep %s: %d trials, %d of them to do", spec.name, len(trials), len(left))
        if left:
            _settle(records, left, runs, identity, run_on_tune(spec, left, runs, settings))
        kind.write_answer(records.tracking, parent, spec, gather(records, kind, trials, runs), settings)
        status = {trial.title: records.status(runs[trial.trial_id]) for trial in trials}
    except BaseException:
        records.close_sweep(parent, "failed")
        raise
    failed = [title for title, one in status.items() if one == "failed"]
    interrupted = [title for title, one in status.items() if one in {"", "running"}]
    records.close_sweep(parent, "interrupted" if interrupted else "failed" if failed else "successful")
    if interrupted:
        raise TrainingError(f"interrupted with {len(interrupted)} trials left; submit the sweep again")
    return parent, failed


def _settle(
    records: SweepRecords,
    trials: Sequence[Trial],
    runs: Mapping[str, str],
    identity: str,
    outcomes: Mapping[str, str],
) -> None:
    """Write down what a trial could not write itself: that its worker died, or that it was stopped."""
    for trial in trials:
        run_id, outcome = runs[trial.trial_id], outcomes[trial.trial_id]
        if records.status(run_id) in {"successful", "failed"}:
            continue
        if outcome == "failed":
            records.fail(run_id, "its worker died, twice")
        elif outcome == "ended":
            records.stop(run_id, identity)
