"""What all training jobs have in common: from a plan to the finished network, past every interruption."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer

from icss_core.errors import IcssError
from services.errors import TrainingError
from services.ownership import acquire
from services.s3_address import S3Address
from services.storage import Storage
from services.training.callback import MlflowCallback
from services.training.checkpoint import CheckpointStore, is_finished
from services.training.filesystem import checkpoint_filesystem
from services.training.guard import TrainingGuard
from services.training.in_process import train_in_process
from services.training.worker import WorkerTask, train_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.ownership import Lease, Work
    from services.settings import Settings
    from services.tracking import Tracking
    from services.training.rank_training import TrainingPlan

JOB: Final = "icss.job"
"""Tag of a job's run: its name."""
VERSION: Final = "icss.version"
"""Tag of a job that is done: what it has registered."""
TRAINING_FOLDER: Final = "training"
"""Under the data prefix: checkpoints, by job."""
RAY_FOLDER: Final = "ray-train"
"""The same for what Ray Train itself writes down of a job."""


@contextmanager
def finished_training(plan: TrainingPlan, job: str, work: Work, settings: Settings) -> Iterator[Path]:
    """A block with the last checkpoint of a training, trained first as far as it is not.

    The folder holds the finished version (`MODEL_FOLDER`) and what its learner has to say
    (`read_documents`).

    Args:
        plan: of the training.
        job: its name; under it, a job that was interrupted is found again.
        work: on the job's run.
        settings: of the services.

    Raises:
        IcssError: as the training's own.
        TrainingError: the workers failed more often than allowed.
        LostOwnershipError: another process has taken the job over.
    """
    checkpoints = f"{settings.data_prefix}/{TRAINING_FOLDER}/{job}"
    store = CheckpointStore(Storage(settings), checkpoints)
    if not store.is_finished():
        if plan.numbers.workers:
            _train_on_workers(plan, job, work, checkpoints, settings)
        else:
            train_in_process(plan, work.run_id, checkpoints, generation=work.lease.generation)
    with store.latest() as folder:
        if folder is None or not is_finished(folder):
            raise TrainingError(f"job {job} ended without a finished network under {checkpoints}")
        work.check()
        yield folder


def own_job(tracking: Tracking, run_id: str, settings: Settings) -> Lease | int:
    """The lease on a job's run; of a job that is done, whoever had it, the version that it has registered.

    Raises:
        TrackingError: the server did not answer.
    """
    lease = acquire(
        tracking, run_id, is_done=lambda record: VERSION in record.tags, ttl=settings.lease_seconds
    )
    if lease is not None:
        return lease
    record = tracking.get(run_id)
    assert record is not None  # noqa: S101 - it is done, and nobody deletes runs
    return int(record.tags[VERSION])


def forget_checkpoints(job: str, settings: Settings) -> None:
    """Delete the checkpoints of a job that is done.

    They are five times the size of the network, and of no more use: the version is the job's answer.
    """
    for part in (TRAINING_FOLDER, RAY_FOLDER):
        CheckpointStore(Storage(settings), f"{settings.data_prefix}/{part}/{job}").delete()


def _train_on_workers(plan: TrainingPlan, job: str, work: Work, checkpoints: str, settings: Settings) -> None:
    """Train by Ray Train, to the last checkpoint."""
    numbers = plan.numbers
    prefix = S3Address.parse(settings.data_prefix).child(RAY_FOLDER)
    gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]  # Ray's own gap
    use_gpu = gpus >= numbers.workers if numbers.gpu is None else numbers.gpu
    callbacks = [MlflowCallback(work.run_id), TrainingGuard(work.run_id, work.lease.generation)]
    trainer = TorchTrainer(
        train_worker,  # type: ignore[arg-type]  # Ray's annotation knows no typed dict
        train_loop_config=dict(
            WorkerTask(plan=plan, checkpoints=checkpoints, generation=work.lease.generation)
        ),
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=numbers.workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": numbers.cpus_per_worker} | ({"GPU": 1} if use_gpu else {}),
        ),
        run_config=ray.train.RunConfig(
            name=job,
            storage_path=f"{prefix.bucket}/{prefix.key}",
            storage_filesystem=checkpoint_filesystem(settings),
            failure_config=ray.train.FailureConfig(max_failures=numbers.max_failures),
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
        raise TrainingError(f"job {job} failed after {numbers.max_failures} restarts: {error}") from error
