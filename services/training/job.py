"""The job around a pretraining: plan, Ray Train, registration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer

from icss_core.errors import IcssError
from services.data.dataset import read_dataset
from services.errors import TrainingError
from services.ownership import acquire, find_or_create, work_on
from services.registry import MEMORY, Registry
from services.revision import code_revision
from services.s3_address import S3Address
from services.storage import Storage
from services.tracking import PRETRAINING, Tracking
from services.training.callback import MlflowCallback
from services.training.checkpoint import MODEL_FOLDER, CheckpointStore, is_finished
from services.training.filesystem import checkpoint_filesystem
from services.training.guard import TrainingGuard
from services.training.in_process import train_in_process
from services.training.plan import Plan, make_plan
from services.training.worker import WorkerTask, train_worker

if TYPE_CHECKING:
    from icss_core.dataset import Dataset
    from services.ownership import Lease, Work
    from services.settings import Settings
    from services.training.config import TrainingConfig

TRAINING_FOLDER: Final = "training"
"""Under the data prefix: checkpoints, by job."""
RAY_FOLDER: Final = "ray-train"
"""The same for what Ray Train itself writes down of a job."""
VERSION: Final = "icss.version"
"""Tag of a job that is done: what it has registered."""


def pretrain(config: TrainingConfig, settings: Settings, *, scenes: tuple[str, ...] | None = None) -> int:
    """Train a memory network, register it, point the alias `memory` at it; returns the version.

    Ray must be initialised. A job that was interrupted goes on where its last checkpoint was when it is
    submitted again; one that has registered its network returns that version at once. One that another
    process works on, of this cluster or another, is waited for, and taken over if that process dies.

    Args:
        config: what is asked; with a task of a protocol, classes are added to a version of the same model.
        settings: of the services.
        scenes: names of the training scenes, where a task's manifest says so; None: all that have a mask.

    Raises:
        IcssError: the data set, a scene or the request is not usable; MLflow or the store did not answer.
        TrainingError: the workers failed more often than allowed.
        LostOwnershipError: another process has taken the job over, because this one stood still.
    """
    tracking = Tracking(settings)
    dataset = read_dataset(config.dataset, Storage(settings))
    job = config.job_name(dataset.manifest_hash)

    def fill(run_id: str) -> None:
        tracking.log_parameters(run_id, config.decisive())
        tracking.write_text(run_id, "dataset.yaml", dataset.to_yaml())

    run_id = find_or_create(
        tracking,
        PRETRAINING,
        identity={"icss.job": job},
        name=job,
        tags={
            "icss.model": config.model,
            "icss.dataset": config.dataset,
            "icss.manifest_hash": dataset.manifest_hash,
            "icss.preset": config.learner.resolve()[1].preset_name or "",
        },
        fill=fill,
    )
    lease = acquire(
        tracking, run_id, is_done=lambda record: VERSION in record.tags, ttl=settings.lease_seconds
    )
    if lease is None:
        record = tracking.get(run_id)
        assert record is not None  # noqa: S101 - it is done, and nobody deletes runs
        return int(record.tags[VERSION])
    return _pretrain(config, dataset, job, lease, settings, scenes)


def _pretrain(
    config: TrainingConfig,
    dataset: Dataset,
    job: str,
    lease: Lease,
    settings: Settings,
    scenes: tuple[str, ...] | None,
) -> int:
    """The job by its owner."""
    storage, tracking, registry = Storage(settings), Tracking(settings), Registry(settings)
    revision = code_revision(settings)
    tags = {"icss.revision": revision, "icss.spread": config.neutral()}
    with work_on(tracking, lease, tags=tags) as work:
        memory = None
        if config.memory is not None:
            memory = registry.resolve(config.model, config.memory).card
        plan = make_plan(config, dataset, storage, code_version=revision, memory=memory, scenes=scenes)
        statistics = plan.card.normalisation.model_dump(mode="json")
        tracking.write_json(work.run_id, "normalisation.json", statistics)
        version = _train_and_register(plan, job, work, settings, registry)
        work.check()
        registry.set_alias(config.model, MEMORY, version)
        work.succeed({VERSION: str(version)})
    # five times the size of the network, and of no more use: from now on the version is the job's answer
    for part in (TRAINING_FOLDER, RAY_FOLDER):
        CheckpointStore(storage, f"{settings.data_prefix}/{part}/{job}").delete()
    return version


def _train_and_register(plan: Plan, job: str, work: Work, settings: Settings, registry: Registry) -> int:
    config = plan.config
    checkpoints = f"{settings.data_prefix}/{TRAINING_FOLDER}/{job}"
    store = CheckpointStore(Storage(settings), checkpoints)
    with store.latest() as folder:
        trained = folder is not None and is_finished(folder)
    if not trained and config.workers:
        _train_on_workers(plan, job, work, checkpoints, settings)
    elif not trained:
        train_in_process(plan, work.run_id, checkpoints, generation=work.lease.generation)
    with store.latest() as folder:
        if folder is None or not is_finished(folder):
            raise TrainingError(f"job {job} ended without a finished network under {checkpoints}")
        work.check()
        return registry.register(
            config.model, folder / MODEL_FOLDER, run_id=work.run_id, parent=config.memory, tags={"job": job}
        )


def _train_on_workers(plan: Plan, job: str, work: Work, checkpoints: str, settings: Settings) -> None:
    """Train by Ray Train, to the last checkpoint."""
    config = plan.config
    prefix = S3Address.parse(settings.data_prefix).child(RAY_FOLDER)
    gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]  # Ray's own gap
    use_gpu = gpus >= config.workers if config.gpu is None else config.gpu
    callbacks = [MlflowCallback(work.run_id), TrainingGuard(work.run_id, work.lease.generation)]
    trainer = TorchTrainer(
        train_worker,  # type: ignore[arg-type]  # Ray's annotation knows no typed dict
        train_loop_config=dict(
            WorkerTask(plan=plan.model_dump_json(), checkpoints=checkpoints, generation=work.lease.generation)
        ),
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=config.workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": config.cpus_per_worker} | ({"GPU": 1} if use_gpu else {}),
        ),
        run_config=ray.train.RunConfig(
            name=job,
            storage_path=f"{prefix.bucket}/{prefix.key}",
            storage_filesystem=checkpoint_filesystem(settings),
            failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
            # our own lines say how far it is; mypy sees the RunConfig of Train V1
            logging_config=ray.train.LoggingConfig(log_level="WARNING"),  # type: ignore[call-arg]
            # the annotation still names the callbacks of Train V1, which V2 refuses
            callbacks=callbacks,  # type: ignore[arg-type]
        ),
    )
    try:
        trainer.fit()
    except ray.train.ControllerError as error:
        if isinstance(error.controller_failure, IcssError):  # from the guard
            raise error.controller_failure from error
        raise TrainingError(f"job {job} failed: {error}") from error
    except ray.train.TrainingFailedError as error:
        raise TrainingError(f"job {job} failed after {config.max_failures} restarts: {error}") from error
