"""The job around a pretraining: plan, Ray Train, registration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer

from services.data.dataset import read_dataset
from services.errors import TrainingError
from services.registry import MEMORY, Registry
from services.revision import code_revision
from services.s3_address import S3Address
from services.storage import Storage
from services.tracking import PRETRAINING, Tracking
from services.training.callback import MlflowCallback
from services.training.checkpoint import MODEL_FOLDER, CheckpointStore, is_finished
from services.training.filesystem import checkpoint_filesystem
from services.training.in_process import train_in_process
from services.training.job_lock import job_lock
from services.training.plan import Plan, make_plan
from services.training.worker import train_worker

if TYPE_CHECKING:
    from icss_core.dataset import Dataset
    from services.settings import Settings
    from services.training.config import TrainingConfig

_FOLDER = "training"
"""Under the data prefix: checkpoints, by job."""
_RAY_FOLDER = "ray-train"
"""The same for what Ray Train itself writes down of a job."""


def pretrain(config: TrainingConfig, settings: Settings, *, scenes: tuple[str, ...] | None = None) -> int:
    """Train a memory network, register it, point the alias `memory` at it; returns the version.

    Ray must be initialised. A job that was interrupted goes on where its last checkpoint was when it is
    submitted again; one that has registered its network returns that version at once, and one that another
    process of the cluster works on is waited for.

    Args:
        config: what is asked; with a step, classes are added to a version of the same model.
        settings: of the services.
        scenes: names of the training scenes, where a step's manifest says so; None: all that have a mask.

    Raises:
        IcssError: the data set, a scene or the request is not usable; MLflow or the store did not answer.
        TrainingError: the workers failed more often than allowed.
    """
    dataset = read_dataset(config.dataset, Storage(settings))
    job = config.job_name(dataset.manifest_hash)
    with job_lock(job):
        return _pretrain(config, dataset, job, settings, scenes)


def _pretrain(
    config: TrainingConfig, dataset: Dataset, job: str, settings: Settings, scenes: tuple[str, ...] | None
) -> int:
    storage, tracking, registry = Storage(settings), Tracking(settings), Registry(settings)
    known = tracking.find(PRETRAINING, tags={"icss.job": job})
    for record in known:
        if "icss.version" in record.tags:
            return int(record.tags["icss.version"])
    revision = code_revision(settings)
    memory = None
    if config.memory is not None:
        memory = registry.resolve(config.model, config.memory).card
    plan = make_plan(config, dataset, storage, code_version=revision, memory=memory, scenes=scenes)
    if known:
        run_id = known[0].run_id
        tracking.reopen(run_id)
        tracking.set_tags(run_id, {"icss.status": "running"})
    else:
        run_id = _create_run(tracking, job, plan, dataset.manifest_hash, revision)
    try:
        version = _train_and_register(plan, job, run_id, settings, registry)
    except BaseException:
        tracking.set_tags(run_id, {"icss.status": "failed"})
        tracking.finish(run_id, "FAILED")
        raise
    registry.set_alias(config.model, MEMORY, version)
    tracking.set_tags(run_id, {"icss.status": "successful", "icss.version": str(version)})
    tracking.finish(run_id, "FINISHED")
    # five times the size of the network, and of no more use: from now on the version is the job's answer
    for part in (_FOLDER, _RAY_FOLDER):
        CheckpointStore(storage, f"{settings.data_prefix}/{part}/{job}").delete()
    return version


def _create_run(tracking: Tracking, job: str, plan: Plan, manifest_hash: str, revision: str) -> str:
    run_id = tracking.create_run(
        PRETRAINING,
        name=job,
        tags={
            "icss.job": job,
            "icss.status": "running",
            "icss.model": plan.config.model,
            "icss.dataset": plan.config.dataset,
            "icss.manifest_hash": manifest_hash,
            "icss.preset": plan.card.preset or "",
            "icss.revision": revision,
        },
    )
    tracking.log_parameters(run_id, plan.config.model_dump(mode="json"))
    tracking.write_text(run_id, "dataset.yaml", plan.dataset_yaml)
    tracking.write_json(run_id, "normalisation.json", plan.card.normalisation.model_dump(mode="json"))
    return run_id


def _train_and_register(plan: Plan, job: str, run_id: str, settings: Settings, registry: Registry) -> int:
    config = plan.config
    checkpoints = f"{settings.data_prefix}/{_FOLDER}/{job}"
    store = CheckpointStore(Storage(settings), checkpoints)
    with store.latest() as folder:
        trained = folder is not None and is_finished(folder)
    if not trained and config.workers:
        _train_on_workers(plan, job, run_id, checkpoints, settings)
    elif not trained:
        train_in_process(plan, run_id, checkpoints)
    with store.latest() as folder:
        if folder is None or not is_finished(folder):
            raise TrainingError(f"job {job} ended without a finished network under {checkpoints}")
        return registry.register(
            config.model, folder / MODEL_FOLDER, run_id=run_id, parent=config.memory, tags={"job": job}
        )


def _train_on_workers(plan: Plan, job: str, run_id: str, checkpoints: str, settings: Settings) -> None:
    """Train by Ray Train, to the last checkpoint."""
    config = plan.config
    prefix = S3Address.parse(settings.data_prefix).child(_RAY_FOLDER)
    gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]  # Ray's own gap
    use_gpu = gpus >= config.workers if config.gpu is None else config.gpu
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"plan": plan.model_dump_json(), "checkpoints": checkpoints},
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
            callbacks=[MlflowCallback(run_id)],  # type: ignore[list-item]
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise TrainingError(f"job {job} failed after {config.max_failures} restarts: {error}") from error
