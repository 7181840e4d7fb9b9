"""Doing a trial of protocols: a run of its protocol, whose history is the trial's result."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from services.continual.run import run_protocol
from services.tune.continual.means import means_of_history

if TYPE_CHECKING:
    from collections.abc import Callable

    from icss_core.continual import TaskHistory
    from services.ownership import Work
    from services.settings import Settings
    from services.tune.continual.trial import ProtocolTrial
    from services.tune.records import SweepRecords

PROTOCOL_RUN = "icss.protocol_run_id"
"""Tag of a trial: the MLflow run of its protocol, where the steps' reports and the maps are."""


def run_protocol_trial(
    trial: ProtocolTrial,
    work: Work,
    records: SweepRecords,
    *,
    settings: Settings,
    on_result: Callable[[int, dict[str, float]], None] | None = None,
) -> list[TaskHistory]:
    """Do what is left of a trial: steps that are trained are found.

    Args:
        trial: what to do.
        work: on its MLflow run.
        records: where the history goes.
        settings: of the services.
        on_result: told after each step how many are done and the means so far; may end the trial by raising.

    Raises:
        LostOwnershipError: another process has taken the trial over.
        IcssError: see `run_protocol`.
    """

    def after_task(history: TaskHistory) -> None:
        records.write(work, [history], done=len(history.iou))
        means = means_of_history([history])
        records.tracking.log_metrics(work.run_id, [(len(history.iou), time.time(), means)])
        if on_result is not None:
            on_result(len(history.iou), means)

    result = run_protocol(trial.run, settings, after_task=after_task)
    records.tracking.set_tags(work.run_id, {PROTOCOL_RUN: result.run_id})
    return [result.history]
