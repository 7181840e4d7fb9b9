"""The job around a pretraining: plan, Ray Train, registration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.data.dataset import read_dataset
from services.ownership import find_or_create, work_on
from services.registry import MEMORY, Registry
from services.revision import code_revision
from services.storage import Storage
from services.tracking import PRETRAINING, Tracking
from services.training.checkpoint import MODEL_FOLDER
from services.training.finished_training import JOB, VERSION, finished_training, forget_checkpoints, own_job
from services.training.plan import make_plan

if TYPE_CHECKING:
    from icss_core.dataset import Dataset
    from services.ownership import Lease
    from services.settings import Settings
    from services.training.config import TrainingConfig


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
        identity={JOB: job},
        name=job,
        tags={
            "icss.model": config.model,
            "icss.dataset": config.dataset,
            "icss.manifest_hash": dataset.manifest_hash,
            "icss.preset": config.learner.resolve()[1].preset_name or "",
        },
        fill=fill,
    )
    lease = own_job(tracking, run_id, settings)
    if isinstance(lease, int):
        return lease
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
        with finished_training(plan, job, work, settings) as folder:
            version = registry.register(
                config.model,
                folder / MODEL_FOLDER,
                run_id=work.run_id,
                parent=config.memory,
                tags={"job": job},
            )
        work.check()
        registry.set_alias(config.model, MEMORY, version)
        work.succeed({VERSION: str(version)})
    forget_checkpoints(job, settings)
    return version
