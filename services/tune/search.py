"""Trials on Ray Tune: how many at a time, which may stop early, and what became of each."""

from __future__ import annotations

import time
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Literal

from ray import tune

from services.revision import code_revision
from services.s3_address import S3Address
from services.settings import load_settings
from services.tracking import Tracking
from services.training.filesystem import checkpoint_filesystem
from services.tune.kinds import KINDS
from services.tune.progress import PROGRESS, SweepProgress
from services.tune.records import SweepRecords

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.settings import Settings
    from services.tune.spec import SweepSpec
    from services.tune.trial import Trial

Outcome = Literal["ended", "failed", "interrupted"]
"""ended: it did everything, or the scheduler stopped it; interrupted: nobody knows."""

_FOLDER: Final = "tune"
_MANY: Final = 1_000_000


def run_on_tune(
    spec: SweepSpec, trials: Sequence[Trial], runs: Mapping[str, str], settings: Settings
) -> dict[str, Outcome]:
    """Run trials; what happened to each, by its id.

    Only trials that answer the same question, `Trial.rivals`, are compared by a scheduler.
    """
    progress = SweepProgress(len(trials), unit=KINDS[spec.protocol].unit)

    def question(trial: Trial) -> str:
        return trial.rivals or ""

    if spec.scheduler.kind == "all":
        _run(spec, trials, runs, settings, progress, asha=False)
    else:
        for asked, group in groupby(sorted(trials, key=question), key=question):
            _run(spec, list(group), runs, settings, progress, asha=bool(asked))
    outcomes: dict[str, Outcome] = {}
    for trial in trials:
        outcomes[trial.trial_id] = progress.outcomes.get(trial.trial_id, "interrupted")
    return outcomes


def _run(
    spec: SweepSpec,
    trials: Sequence[Trial],
    runs: Mapping[str, str],
    settings: Settings,
    progress: SweepProgress,
    *,
    asha: bool,
) -> None:
    scheduler = None
    if asha:
        scheduler = tune.schedulers.ASHAScheduler(
            time_attr=PROGRESS,
            metric="mean_iou",
            mode="max",
            # more than there are: the last report must not count as being stopped
            max_t=_MANY,
            grace_period=spec.scheduler.grace,
            reduction_factor=spec.scheduler.reduction,
        )
    prefix = S3Address.parse(settings.data_prefix).child(_FOLDER)
    configs = [
        {
            "kind": spec.protocol,
            "trial": one.model_dump_json(),
            "id": one.trial_id,
            "run": runs[one.trial_id],
            "title": one.title,
        }
        for one in trials
    ]
    tuner = tune.Tuner(
        tune.with_resources(_trainable, spec.resources),
        param_space={"of": tune.grid_search(configs)},
        tune_config=tune.TuneConfig(
            scheduler=scheduler,
            max_concurrent_trials=spec.concurrency,
            # a process takes ten seconds to start and import
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            # Tune's own state is not what a sweep resumes from, so each start has a folder of its own
            name=f"{spec.name}-{time.time_ns()}",
            storage_path=f"{prefix.bucket}/{prefix.key}",
            storage_filesystem=checkpoint_filesystem(settings),
            failure_config=tune.FailureConfig(max_failures=1),
            callbacks=[progress],
            verbose=0,
        ),
    )
    tuner.fit()


def _trainable(config: dict[str, Any]) -> None:
    """A trial in a Ray worker. Tune ends its thread by SystemExit where a scheduler stops it."""
    kind = KINDS[config["of"]["kind"]]
    trial, run_id = kind.trial.model_validate_json(config["of"]["trial"]), config["of"]["run"]
    settings = load_settings()
    records = SweepRecords(Tracking(settings), revision=code_revision(settings))
    records.start(run_id)
    try:
        kind.run(
            trial,
            run_id,
            records,
            settings=settings,
            on_result=lambda done, means: tune.report({PROGRESS: done, **means}),
        )
    except Exception as error:
        records.fail(run_id, f"{type(error).__name__}: {error}")
        raise
    records.succeed(run_id)
