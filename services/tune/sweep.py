"""Running a sweep: networks, trials on Ray Tune below one MLflow run, and the answer in that run."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from ray import tune

from icss_core.errors import IcssError, InvalidParameterError
from services.errors import TrainingError
from services.revision import code_revision
from services.s3_address import S3Address
from services.settings import load_settings
from services.storage import Storage
from services.tracking import SWEEPS, Tracking
from services.training.filesystem import checkpoint_filesystem
from services.training.plan import read_dataset
from services.tune.answer import write_answer
from services.tune.networks import control_network, memory_network
from services.tune.progress import SweepProgress
from services.tune.trial import Trial, create_trial_run, run_trial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.settings import Settings
    from services.tune.spec import SweepSpec

_logger = logging.getLogger(__name__)
_FOLDER: Final = "tune"
_DONE: Final = frozenset({"successful", "stopped"})
_MAX_TAG: Final = 4000  # characters; every MLflow store takes 5000


def run_sweep(spec: SweepSpec, datasets: Mapping[str, str], settings: Settings) -> str:
    """Run what is left of a sweep, write its answer, and return the id of its MLflow run.

    Ray must be initialised. A sweep that is submitted again goes on where it stopped: networks and trials
    that are done are found, a trial that was interrupted goes on with its next image.

    Args:
        spec: the sweep.
        datasets: address of the dataset.yaml by the names that the pairs use.
        settings: of the services.

    Raises:
        InvalidParameterError: a pair's data set has no address.
        TrainingError: a trial failed; the answer of the others is written all the same.
        IcssError: a data set is not usable, or a server did not answer.
    """
    tracking = Tracking(settings)
    trials = plan_trials(spec, datasets, settings)
    parent = _parent_run(tracking, spec, trials, settings)
    revision = code_revision(settings)
    runs = {
        trial.trial_id: create_trial_run(tracking, trial, parent=parent, revision=revision)
        for trial in trials
    }
    left = [trial for trial in trials if _status(tracking, runs[trial.trial_id]) not in _DONE]
    _logger.info("sweep %s: %d trials, %d of them to do", spec.name, len(trials), len(left))
    if left:
        _run_trials(spec, left, runs, settings)
    failed = []
    for trial in left:
        run_id = runs[trial.trial_id]
        status = _status(tracking, run_id)
        if status == "failed":
            failed.append(trial.title)
        elif status not in _DONE:  # what a scheduler stopped has no one else to say so
            tracking.set_tags(run_id, {"icss.status": "stopped"})
            tracking.finish(run_id, "KILLED")
    write_answer(tracking, parent, spec, trials, runs)
    tracking.set_tags(parent, {"icss.status": "failed" if failed else "successful"})
    tracking.finish(parent, "FAILED" if failed else "FINISHED")
    if failed:
        raise TrainingError(f"{len(failed)} of {len(trials)} trials failed: {'; '.join(failed)}")
    return parent


def plan_trials(spec: SweepSpec, datasets: Mapping[str, str], settings: Settings) -> list[Trial]:
    """All trials of a sweep, the networks as they are first; pretrains what is not there yet.

    Raises:
        InvalidParameterError: a pair's data set has no address.
        IcssError: see `pretrain`.
    """
    missing = sorted({pair.dataset for pair in spec.pairs} - datasets.keys())
    if missing:
        raise InvalidParameterError(
            f"no address for the data sets {missing}; name them as NAME=s3://.../dataset.yaml"
        )
    storage = Storage(settings)
    trials: list[Trial] = []
    for pair in spec.pairs:
        address = datasets[pair.dataset]
        common = Trial(
            what="memory",
            pair=pair.title,
            variant="memory",
            dataset=address,
            manifest_hash=read_dataset(address, storage).manifest_hash,
            old=pair.old,
            new=pair.new,
            memory=memory_network(pair, address, spec.pretraining, settings),
            images=spec.images,
            pictures=spec.pictures,
        )
        trials.append(common)
        if spec.control:
            control = control_network(pair, address, spec.pretraining, settings)
            changes = {"what": "control", "variant": "control", "control": control}
            trials.append(common.model_copy(update=changes))
        for variant, values in spec.points():
            trials += [
                common.model_copy(
                    update={
                        "what": "session",
                        "variant": variant.title,
                        "preset": spec.preset_of(variant, values),
                        "values": values,
                        "annotations": annotations,
                        "seed": seed,
                        "look_every": spec.look_every,
                        "pictures": spec.pictures if seed == spec.seeds[0] else 0,
                    }
                )
                for annotations in spec.annotations
                for seed in spec.seeds
            ]
    return trials


def _run_trials(spec: SweepSpec, left: list[Trial], runs: Mapping[str, str], settings: Settings) -> None:
    scheduler = None
    if spec.scheduler.kind == "asha":
        scheduler = tune.schedulers.ASHAScheduler(
            time_attr="images",
            metric="mean_iou",
            mode="max",
            max_t=spec.images or 10_000,
            grace_period=spec.scheduler.grace_images,
            reduction_factor=spec.scheduler.reduction,
        )
    prefix = S3Address.parse(settings.data_prefix).child(_FOLDER)
    # all methods with the first seed come before any with the second: a table is of use early
    left = sorted(left, key=lambda trial: trial.seed)
    configs = [
        {"trial": one.model_dump_json(), "run": runs[one.trial_id], "title": one.title} for one in left
    ]
    tuner = tune.Tuner(
        tune.with_resources(_trainable, {"CPU": spec.cpus, "GPU": spec.gpus}),
        param_space={"of": tune.grid_search(configs)},
        tune_config=tune.TuneConfig(scheduler=scheduler, max_concurrent_trials=spec.concurrency),
        run_config=tune.RunConfig(
            # Tune's own state is not what a sweep resumes from, so each start has a folder of its own
            name=f"{spec.name}-{time.time_ns()}",
            storage_path=f"{prefix.bucket}/{prefix.key}",
            storage_filesystem=checkpoint_filesystem(settings),
            failure_config=tune.FailureConfig(max_failures=1),
            callbacks=[SweepProgress(len(left))],
            verbose=0,
        ),
    )
    tuner.fit()


def _trainable(config: dict[str, Any]) -> None:
    """A trial in a Ray worker."""
    trial, run_id = Trial.model_validate_json(config["of"]["trial"]), config["of"]["run"]
    settings = load_settings()
    tracking = Tracking(settings)
    try:
        run_trial(
            trial,
            run_id,
            settings=settings,
            on_image=lambda images, means: tune.report({"images": images, **means}),
        )
    except IcssError as error:
        message = f"{type(error).__name__}: {error}"[:_MAX_TAG]
        tracking.set_tags(run_id, {"icss.status": "failed", "icss.error": message})
        tracking.finish(run_id, "FAILED")
        raise
    tracking.set_tags(run_id, {"icss.status": "successful"})
    tracking.finish(run_id, "FINISHED")


def _parent_run(tracking: Tracking, spec: SweepSpec, trials: list[Trial], settings: Settings) -> str:
    """The run of the sweep: the one it has, or a new one."""
    asked = json.dumps([spec.name, sorted(trial.trial_id for trial in trials)])
    identity = hashlib.sha256(asked.encode()).hexdigest()[:16]
    known = tracking.find(SWEEPS, tags={"icss.kind": "sweep", "icss.sweep": identity})
    if known:
        tracking.reopen(known[-1].run_id)
        return known[-1].run_id
    run_id = tracking.create_run(
        SWEEPS,
        name=spec.name,
        tags={
            "icss.kind": "sweep",
            "icss.sweep": identity,
            "icss.status": "running",
            "icss.revision": code_revision(settings),
            "mlflow.note.content": spec.question,
        },
    )
    tracking.log_parameters(run_id, spec.model_dump(mode="json", exclude={"variants"}), file="sweep.json")
    return run_id


def _status(tracking: Tracking, run_id: str) -> str:
    record = tracking.get(run_id)
    return "" if record is None else record.tags.get("icss.status", "")
