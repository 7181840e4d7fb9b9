"""A sweep from end to end: networks, trials, and the answer in its MLflow run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from services.errors import TrainingError
from services.revision import code_revision
from services.tracking import Tracking
from services.tune.kinds import SWEEP_KINDS
from services.tune.records import ENDED, SweepRecords
from services.tune.trial_runner import TrialRunner
from services.tune.write_answer import write_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.settings import Settings
    from services.tune.spec import SweepSpec

_logger = logging.getLogger(__name__)


def run_sweep(spec: SweepSpec, datasets: Mapping[str, str], settings: Settings) -> tuple[str, list[str]]:
    """Run what is left of a sweep and write its answer.

    Ray must be initialised. A sweep that is submitted again goes on where it stopped: what is done stays
    done, a trial that was interrupted goes on with its next image or task, one that failed is tried again.
    If another process, here or on another cluster, already works on the sweep or on one of its trials, this
    one waits for it, and takes over if that process dies.

    Args:
        spec: the sweep.
        datasets: addresses of the dataset.yaml files, by the names that the sweep's file has for them.
        settings: of the services.

    Returns:
        Id of its MLflow run, and the titles of the trials that failed, which the answer lacks.

    Raises:
        InvalidParameterError, DatasetError: a data set has no address or cannot answer the question.
        TrainingError: the sweep was interrupted; submit it again.
        IcssError: a server did not answer.
    """
    kind = SWEEP_KINDS[spec.kind]
    trials = kind.plan(spec, datasets, settings)
    records = SweepRecords(Tracking(settings), revision=code_revision(settings), ttl=settings.lease_seconds)
    parent, identity = records.sweep(spec, trials)
    with records.working_on_sweep(parent) as work:
        runs = {trial.trial_id: records.run_of(trial, parent=parent) for trial in trials}
        # variants that ask for the same trial share it
        distinct = {trial.trial_id: trial for trial in trials}.values()
        to_do = [trial for trial in distinct if not records.done(runs[trial.trial_id], identity)]
        _logger.info("sweep %s: %d trials, %d of them to do", spec.name, len(trials), len(to_do))
        if to_do:
            outcomes = TrialRunner(spec, identity, runs, records, settings).run(to_do)
            for trial in to_do:
                records.settle(runs[trial.trial_id], identity, outcomes[trial.trial_id])
        work.check()
        answer = kind.gather(records, trials, runs)
        write_answer(kind, records.tracking, parent, spec, answer, settings)
        states = {trial.title: records.status(runs[trial.trial_id]) for trial in trials}
        failed = [title for title, state in states.items() if state == "failed"]
        interrupted = [title for title, state in states.items() if state not in ENDED]
        if interrupted:
            work.interrupt()
        elif failed:
            work.fail(f"{len(failed)} trials failed: {'; '.join(failed)}")
        else:
            work.succeed()
    if interrupted:
        raise TrainingError(f"interrupted with {len(interrupted)} trials left; submit the sweep again")
    return parent, failed
