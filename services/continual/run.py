"""Running a protocol: task after task, each a training job, a version and its scores."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from icss_core.continual import TaskHistory, split_tasks
from icss_core.metrics import SegmentationReport
from services.continual.scores import Scored, ScoreRequest, score_version
from services.data.dataset import read_dataset
from services.data.image_labels import image_labels
from services.ownership import acquire, find_or_create, work_on
from services.pictures import map_png
from services.revision import code_revision
from services.storage import Storage
from services.tracking import PROTOCOLS, Tracking
from services.training.job import pretrain

if TYPE_CHECKING:
    from collections.abc import Callable

    from icss_core.continual import TaskManifest
    from services.continual.config import ProtocolRun
    from services.ownership import Work
    from services.settings import Settings

_logger = logging.getLogger(__name__)
_MARK: Final = "icss.task_{}_version"
_REPORT: Final = "tasks/{}/report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolResult:
    """Result of a run of a protocol."""

    run_id: str
    """Of MLflow."""
    versions: tuple[int, ...]
    """Registered version of each task."""
    history: TaskHistory


def run_protocol(
    asked: ProtocolRun, settings: Settings, *, after_task: Callable[[TaskHistory], None] | None = None
) -> ProtocolResult:
    """Train, register and score every task of a protocol; Ray must be initialised.

    Everything is written as it comes: the split, each task's version and report, and the matrix of task by
    class so far. Submitted again, the run goes on with the task it was in, and that task with its last
    checkpoint; tasks that another run has trained alike are not trained again. A run that another process
    works on is waited for, and taken over if that process dies.

    Args:
        asked: what to run.
        settings: of the services.
        after_task: told the history after each task, done now or before; may end the run by raising.

    Raises:
        IcssError: the protocol does not fit the data, or a task could not be trained.
        LostOwnershipError: another process has taken the run over, because this one stood still.
    """
    storage, tracking = Storage(settings), Tracking(settings)
    dataset = read_dataset(asked.dataset, storage)
    score = asked.protocol.score_of(dataset)
    manifest = split_tasks(dataset, asked.protocol, image_labels(dataset, storage))
    run_id = _run_of(tracking, asked, manifest)
    lease = acquire(tracking, run_id, ttl=settings.lease_seconds)
    tags = {"icss.revision": code_revision(settings), "icss.spread": asked.neutral()}
    with work_on(tracking, lease, tags=tags) as work:
        history, versions = TaskHistory.start(manifest.classes, score), []
        memory: int | None = None
        for task, scenes in enumerate(manifest.scenes):
            config = asked.training_of(task, manifest, memory)
            _logger.info("task %d: %s, %d scenes", task, ", ".join(manifest.classes[task]), len(scenes))
            memory = pretrain(config, settings, scenes=scenes)
            versions.append(memory)
            report = _written_report(tracking, run_id, task, memory)
            if report is None:
                new = len(manifest.classes[task])
                pictures = asked.pictures if task == len(manifest.scenes) - 1 else 0
                report = _score(tracking, work, asked, memory, settings, new=new, pictures=pictures)
                _write(tracking, work, history.after(report), report, task, memory)
            history = history.after(report)
            if after_task is not None:
                after_task(history)
        work.succeed()
    return ProtocolResult(run_id=run_id, versions=tuple(versions), history=history)


def _run_of(tracking: Tracking, asked: ProtocolRun, manifest: TaskManifest) -> str:
    """The MLflow run of a request: the one it has, or a new one."""

    def fill(run_id: str) -> None:
        tracking.log_parameters(run_id, asked.decisive())
        tracking.write_json(run_id, "split.json", manifest.model_dump(mode="json"))

    return find_or_create(
        tracking,
        PROTOCOLS,
        identity={"icss.protocol_run": asked.identity(manifest)},
        name=f"{asked.protocol.name} {asked.protocol.setting}; {asked.preset.name}; seed {asked.seed}",
        tags={
            "icss.protocol": asked.protocol.name,
            "icss.setting": asked.protocol.setting,
            "icss.preset": asked.preset.name,
            "icss.model": asked.model,
            "icss.split_hash": manifest.manifest_hash,
        },
        fill=fill,
    )


def _written_report(tracking: Tracking, run_id: str, task: int, version: int) -> SegmentationReport | None:
    """The report of a task that this run has finished with this version."""
    record = tracking.get(run_id)
    if record is None or record.tags.get(_MARK.format(task)) != str(version):
        return None
    return SegmentationReport.model_validate(tracking.read_json(run_id, _REPORT.format(task)))


def _score(
    tracking: Tracking,
    work: Work,
    asked: ProtocolRun,
    version: int,
    settings: Settings,
    *,
    new: int,
    pictures: int,
) -> SegmentationReport:
    """The report of a task; maps go to the run as `maps/SCENE.png`."""
    _logger.info("scoring version %d", version)
    request = ScoreRequest(
        model=asked.model,
        version=version,
        dataset=asked.dataset,
        new=new,
        pictures=pictures,
        scales=asked.preset.test_scales,
    )
    if asked.workers:
        report, maps = _score_on_cluster(asked, request, settings)
    else:
        report, maps = score_version(request, settings)
    work.check()
    for scene, labels in maps.items():
        tracking.write_bytes(work.run_id, f"maps/{scene}.png", map_png(labels))
    return report


def _score_on_cluster(asked: ProtocolRun, request: ScoreRequest, settings: Settings) -> Scored:
    """`score_version` on a worker of the cluster.

    Settings are an argument, because a closure over them would store their keys in Ray's table of functions.
    """
    cluster = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's own gap
    gpus = 1 if asked.gpu or (asked.gpu is None and cluster.get("GPU", 0)) else 0
    remote = ray.remote(score_version).options(
        num_cpus=asked.cpus_per_worker,
        num_gpus=gpus,
        # a trial of a sweep has reserved no processor for it
        scheduling_strategy=PlacementGroupSchedulingStrategy(placement_group=None),  # type: ignore[arg-type]  # as documented
    )
    scored: Scored = ray.get(remote.remote(request, settings))
    return scored


def _write(
    tracking: Tracking, work: Work, history: TaskHistory, report: SegmentationReport, task: int, version: int
) -> None:
    """A task's report and the history after it, and last of all the mark that the task is finished."""
    means = history.means[-1].model_dump(exclude={"groups"})
    work.check()
    tracking.write_json(work.run_id, _REPORT.format(task), report.model_dump(mode="json"))
    tracking.write_text(work.run_id, "history.md", history.to_markdown())
    tracking.write_json(work.run_id, "history.json", history.model_dump(mode="json"))
    values = {**means, "mean_forgetting": history.mean_forgetting}
    if history.score is not None:
        values[history.score.key] = history.scores[-1]
    points = {name: value for name, value in values.items() if value is not None}
    tracking.log_metrics(work.run_id, [(task, time.time(), points)])
    tracking.set_tags(work.run_id, {_MARK.format(task): str(version)})
