"""The job around an update from many images: its run, the training, the version, the pictures."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from icss_core.networks.model_folder import load_model
from icss_core.raster.reader import open_raster
from icss_core.updating.findings import UpdateFindings
from icss_core.updating.learner import FINDINGS
from services.errors import ImageChangedError
from services.ownership import find_or_create, work_on
from services.pictures.update_pictures import update_pictures
from services.registry import UPDATED, Registry
from services.revision import code_revision
from services.storage import Storage
from services.tracking import UPDATES, Tracking
from services.training.checkpoint import MODEL_FOLDER, read_documents
from services.training.finished_training import JOB, VERSION, finished_training, forget_checkpoints, own_job
from services.updating.images import pinned
from services.updating.plan import make_update_plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.ownership import Work
    from services.settings import Settings
    from services.updating.plan import UpdatePlan
    from services.updating.request import UpdateJobRequest

_log = logging.getLogger(__name__)

KIND: Final = "icss.kind"
UPDATE_JOB: Final = "update job"
"""Of its run; those that HTTP has accepted are of kind "update", and the service carries them out."""
_PICTURES: Final = 8
"""Images with pictures, at most."""


def run_update_job(request: UpdateJobRequest, settings: Settings) -> int:
    """Teach a class from clicks on many images, register the network, point the alias `updated` at it.

    Ray must be initialised, unless the work is done in this process. A job that was interrupted goes on where
    its last checkpoint was when it is submitted again; one that has registered its network returns that
    version at once. One that another process works on is waited for, and taken over if that process dies.

    Args:
        request: what to learn.
        settings: of the services.

    Raises:
        IcssError: see `make_update_plan`; MLflow or the store did not answer.
        ImageChangedError: an image was overwritten while it was learnt from; nothing was registered.
        TrainingError: the workers failed more often than allowed.
        LostOwnershipError: another process has taken the job over, because this one stood still.
    """
    tracking, registry, storage = Tracking(settings), Registry(settings), Storage(settings)
    plan = make_update_plan(request, registry.resolve(request.model, request.version), storage)
    run_id = _run_of(plan, tracking)
    lease = own_job(tracking, run_id, settings)
    if isinstance(lease, int):
        return lease
    tags = {"icss.revision": code_revision(settings), "icss.spread": plan.spread.model_dump_json()}
    with work_on(tracking, lease, tags=tags) as work:
        _log.info(
            "%d images with clicks, %d without", len(plan.clicked), len(plan.images) - len(plan.clicked)
        )
        started = time.monotonic()
        with ExitStack() as kept:
            with _unspoilt(plan, storage, settings):
                folder = kept.enter_context(finished_training(plan, plan.job, work, settings))
            findings = UpdateFindings.model_validate(read_documents(folder)[FINDINGS])
            _write_down(plan, folder / MODEL_FOLDER, findings, work, tracking, registry, storage)
            work.check()
            version = registry.register(
                plan.model,
                folder / MODEL_FOLDER,
                run_id=work.run_id,
                parent=plan.version,
                tags={"job": plan.job, "class": plan.new_class.name, "preset": plan.preset.name},
            )
        work.check()
        registry.set_alias(plan.model, UPDATED, version)
        _log.info("registered as version %d after %.0f s", version, time.monotonic() - started)
        work.succeed({VERSION: str(version)})
    forget_checkpoints(plan.job, settings)
    return version


def _run_of(plan: UpdatePlan, tracking: Tracking) -> str:
    """The MLflow run of a job: the one it has, or a new one."""

    def fill(run_id: str) -> None:
        counts: dict[str, int] = {}
        for image in plan.clicked:
            for label, number in image.clicks.counts().items():
                counts[str(label)] = counts.get(str(label), 0) + number
        shown: dict[str, Any] = {
            **plan.decisive(),
            "images": {"clicked": len(plan.clicked), "context": len(plan.images) - len(plan.clicked)},
            "click_counts": counts,
        }
        tracking.log_parameters(run_id, shown)
        tracking.write_text(run_id, "plan.json", plan.model_dump_json(indent=1, exclude={"spread"}))

    return find_or_create(
        tracking,
        UPDATES,
        identity={JOB: plan.job},
        name=f"{plan.model}: {plan.new_class.name}, {len(plan.clicked)} images",
        tags={
            KIND: UPDATE_JOB,
            "icss.model": plan.model,
            "icss.class": plan.new_class.name,
            "icss.preset": plan.preset.name,
        },
        fill=fill,
    )


@contextmanager
def _unspoilt(plan: UpdatePlan, storage: Storage, settings: Settings) -> Iterator[None]:
    """A block in which all images stay what they were; what was learnt from others is forgotten."""
    try:
        with pinned(plan.images, storage):
            yield
    except ImageChangedError:
        forget_checkpoints(plan.job, settings)
        raise


def _write_down(
    plan: UpdatePlan,
    updated: Path,
    findings: UpdateFindings,
    work: Work,
    tracking: Tracking,
    registry: Registry,
    storage: Storage,
) -> None:
    """What the update shows: findings, and pictures of the first of the clicked images."""
    tracking.write_text(work.run_id, "findings.json", findings.model_dump_json(indent=1))
    for warning in findings.warnings:
        _log.warning("%s", warning)
    before, _ = load_model(registry.fetch(plan.model, plan.version))
    after, card = load_model(updated)
    opener = partial(open_raster, bands=plan.bands)
    for number, image in enumerate(plan.clicked[:_PICTURES], start=1):
        with storage.raster_environment(), opener(image.address) as raster:
            pictures = update_pictures(before, after, raster, image.clicks, card.label_space)
        for name, png in pictures.items():
            tracking.write_bytes(work.run_id, f"pictures/{number}-{name}.png", png)
