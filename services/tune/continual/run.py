"""Doing a trial of a continual sweep: its protocol is run, and the history of that is the trial's result."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from services.continual.run import run_protocol
from services.errors import TrackingError
from services.tune.continual.means import means_of_history

if TYPE_CHECKING:
    from icss_core.continual import TaskHistory
    from services.ownership import Work
    from services.settings import Settings
    from services.tracking import Tracking
    from services.tune.continual.trial import ContinualTrial
    from services.tune.records import SweepRecords
    from services.tune.sweep_kind import OnResult

_PROTOCOL_RUN: Final = "icss.protocol_run_id"
"""Tag of a trial: the MLflow run of its protocol, where the tasks' reports and the maps are."""


def run_continual_trial(
    trial: ContinualTrial,
    work: Work,
    records: SweepRecords,
    *,
    settings: Settings,
    on_result: OnResult | None = None,
) -> list[TaskHistory]:
    """Do what is left of a trial; tasks that are trained already are not trained again.

    Args:
        trial: what to do.
        work: on its MLflow run.
        records: where the history goes.
        settings: of the services.
        on_result: told after each task how many are done and the means so far; may end the trial by raising.

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
    records.tracking.set_tags(work.run_id, {_PROTOCOL_RUN: result.run_id})
    return [result.history]


def protocol_run_of(tracking: Tracking, run_id: str) -> str:
    """The MLflow run of a complete trial's protocol.

    Args:
        tracking: the MLflow server.
        run_id: run of the trial.

    Raises:
        TrackingError: the trial does not name it, or the server refused or did not answer.
    """
    record = tracking.get(run_id)
    if record is None or _PROTOCOL_RUN not in record.tags:
        raise TrackingError(f"trial {run_id} does not say which run its protocol was")
    return record.tags[_PROTOCOL_RUN]
