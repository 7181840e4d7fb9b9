"""Trials on Ray Tune: how many at a time, which may stop early, and what became of each."""

from __future__ import annotations

import logging
import time
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Literal

from ray import tune

from icss_core.errors import IcssError
from services.errors import LostOwnershipError, may_pass
from services.revision import code_revision
from services.s3_address import S3Address
from services.settings import load_settings
from services.storage import Storage
from services.tracking import Tracking
from services.training.filesystem import checkpoint_filesystem
from services.tune.kinds import SWEEP_KINDS
from services.tune.progress import PROGRESS, SweepProgress
from services.tune.records import SweepRecords
from services.tune.trial_order import ORDER_KEY, TrialOrder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.settings import Settings
    from services.tune.spec import SweepSpec
    from services.tune.trial import Trial

_logger = logging.getLogger(__name__)

Outcome = Literal["ended", "failed", "interrupted"]
"""ended: the trial did everything, or the scheduler stopped it; interrupted: nobody knows how it ended."""

TUNE_FOLDER: Final = "tune"
"""Folder under the data prefix where Tune keeps its own state, by sweep and time."""
_MANY: Final = 1_000_000


class TrialRunner:
    """Runs trials of one sweep.

    Args:
        spec: the sweep.
        identity: of the sweep.
        runs: MLflow runs of its trials, by id.
        records: of the sweep.
        settings: of the services.
    """

    def __init__(
        self,
        spec: SweepSpec,
        identity: str,
        runs: Mapping[str, str],
        records: SweepRecords,
        settings: Settings,
    ) -> None:
        self._spec, self._identity, self._runs, self._settings = spec, identity, runs, settings
        self._records = records

    def run(self, trials: Sequence[Trial]) -> dict[str, Outcome]:
        """Run trials and tell what became of each, by its id.

        A scheduler compares only trials with the same `Trial.rivals`.
        """
        progress = SweepProgress(
            len(trials),
            unit=SWEEP_KINDS[self._spec.kind].unit,
            failed=lambda trial_id: self._records.status(self._runs[trial_id]) == "failed",
        )

        def rivals(trial: Trial) -> str:
            return trial.rivals or ""

        if self._spec.scheduler.kind == "all":
            self._run(trials, progress, asha=False)
        else:
            for compared, group in groupby(sorted(trials, key=rivals), key=rivals):
                self._run(list(group), progress, asha=bool(compared))
        outcomes: dict[str, Outcome] = {}
        for trial in trials:
            outcomes[trial.trial_id] = progress.outcomes.get(trial.trial_id, "interrupted")
        return outcomes

    def _run(self, trials: Sequence[Trial], progress: SweepProgress, *, asha: bool) -> None:
        spec = self._spec
        scheduler = None
        if asha:
            scheduler = tune.schedulers.ASHAScheduler(
                time_attr=PROGRESS,
                metric="mean_iou",
                mode="max",
                # more images or tasks than there are: a trial that did all of them was not stopped
                max_t=_MANY,
                grace_period=spec.scheduler.grace,
                reduction_factor=spec.scheduler.reduction,
            )
        # a sweep resumes from its records and not from Tune's state, so each start has a new folder
        name = f"{spec.name}-{time.time_ns()}"
        prefix = S3Address.parse(self._settings.data_prefix).child(TUNE_FOLDER)
        tuner = tune.Tuner(
            tune.with_resources(run_trial, spec.resources),
            param_space={ORDER_KEY: tune.grid_search([self._order(one).model_dump() for one in trials])},
            tune_config=tune.TuneConfig(
                scheduler=scheduler,
                max_concurrent_trials=spec.concurrency,
                # a new process would take ten seconds to start and import
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=f"{prefix.bucket}/{prefix.key}",
                storage_filesystem=checkpoint_filesystem(self._settings),
                failure_config=tune.FailureConfig(max_failures=1),
                callbacks=[progress],
                verbose=0,
            ),
        )
        tuner.fit()
        storage = Storage(self._settings)
        for address in list(storage.list(f"{prefix}/{name}")):
            storage.delete(address)

    def _order(self, trial: Trial) -> TrialOrder:
        return TrialOrder(
            kind=self._spec.kind,
            trial=trial.model_dump_json(),
            trial_id=trial.trial_id,
            title=trial.title,
            run_id=self._runs[trial.trial_id],
            sweep=self._identity,
        )


def run_trial(config: dict[str, Any]) -> None:
    """Do a trial in a Ray worker. If a scheduler stops the trial, Tune ends this thread by SystemExit.

    Tune starts a trial again that raises. So an error that would only come again is recorded and not raised.
    """
    order = TrialOrder.of(config)
    kind = SWEEP_KINDS[order.kind]
    trial = kind.trial.model_validate_json(order.trial)
    settings = load_settings()
    records = SweepRecords(Tracking(settings), revision=code_revision(settings), ttl=settings.lease_seconds)

    def on_result(done: int, means: Mapping[str, float]) -> None:
        tune.report({PROGRESS: done, **means})

    while True:
        try:
            with records.working_on(order.run_id, order.sweep) as work:
                if work is not None:
                    kind.run(trial, work, records, settings=settings, on_result=on_result)
                    work.succeed()
        except LostOwnershipError as error:
            _logger.warning("%s: %s; waiting for that one", trial.title, error)
        except IcssError as error:
            if may_pass(error):
                raise
            _logger.error("%s: %s: %s", trial.title, type(error).__name__, error)  # noqa: TRY400 - no fault of the code
            return
        else:
            if work is None:  # another sweep has done it while this one waited
                results = records.read(order.run_id, kind.result)
                if results:
                    on_result(records.done_of(order.run_id), kind.means(results))
            return
