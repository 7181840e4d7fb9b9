"""Running a protocol: step after step, each a training job, a version and its scores."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from icss_core.continual import TaskHistory, split_tasks
from icss_core.metrics import SegmentationReport
from services.continual.scores import Scored, score_version
from services.data.dataset import read_dataset
from services.data.image_labels import image_labels
from services.pictures import map_png
from services.revision import code_revision
from services.storage import Storage
from services.tracking import PROTOCOLS, Tracking
from services.training.job import pretrain

if TYPE_CHECKING:
    from collections.abc import Callable

    from icss_core.continual import TaskManifest
    from services.continual.config import ProtocolRun
    from services.settings import Settings

_logger = logging.getLogger(__name__)
_MARK: Final = "icss.step_{}_version"
_REPORT: Final = "steps/{}/report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolResult:
    """What a run of a protocol came to."""

    run_id: str
    """Of MLflow."""
    versions: tuple[int, ...]
    """Registered version of each step."""
    history: TaskHistory


def run_protocol(
    asked: ProtocolRun, settings: Settings, *, after_step: Callable[[TaskHistory], None] | None = None
) -> ProtocolResult:
    """Train, register and score every step of a protocol; Ray must be initialised.

    Everything is written as it comes: the split, each step's version and report, and the matrix of step by
    class so far. Submitted again, the run goes on with the step it was in, and that step with its last
    checkpoint; steps that another run has trained alike are not trained again.

    Args:
        asked: what to run.
        settings: of the services.
        after_step: told the history after each step, found or done; may end the run by raising.

    Raises:
        IcssError: the protocol does not fit the data, or a step could not be trained.
    """
    storage, tracking = Storage(settings), Tracking(settings)
    dataset = read_dataset(asked.dataset, storage)
    manifest = split_tasks(dataset, asked.protocol, image_labels(dataset, storage))
    run_id = _open_run(tracking, asked, manifest, settings)
    history, versions = TaskHistory.start(manifest.classes), []
    try:
        memory: int | None = None
        for step, scenes in enumerate(manifest.scenes):
            config = asked.training_of(step, manifest, memory)
            _logger.info("step %d: %s, %d scenes", step, ", ".join(manifest.classes[step]), len(scenes))
            memory = pretrain(config, settings, scenes=scenes)
            versions.append(memory)
            report = _known(tracking, run_id, step, memory)
            if report is None:
                new = len(manifest.classes[step])
                pictures = asked.pictures if step == len(manifest.scenes) - 1 else 0
                report = _score(tracking, run_id, asked, memory, settings, new=new, pictures=pictures)
                tracking.write_json(run_id, _REPORT.format(step), report.model_dump(mode="json"))
                _write(tracking, run_id, history.after(report), step, memory)
            history = history.after(report)
            if after_step is not None:
                after_step(history)
    except BaseException:
        tracking.set_tags(run_id, {"icss.status": "failed"})
        tracking.finish(run_id, "FAILED")
        raise
    tracking.set_tags(run_id, {"icss.status": "successful"})
    tracking.finish(run_id, "FINISHED")
    return ProtocolResult(run_id=run_id, versions=tuple(versions), history=history)


def _open_run(tracking: Tracking, asked: ProtocolRun, manifest: TaskManifest, settings: Settings) -> str:
    """The MLflow run of a request: the one it has, open again, or a new one."""
    identity = asked.identity(manifest)
    known = tracking.find(PROTOCOLS, tags={"icss.protocol_run": identity})
    if known:
        run_id = known[-1].run_id
        tracking.reopen(run_id)
    else:
        title = f"{asked.protocol.name} {asked.protocol.setting}; {asked.preset.name}; seed {asked.seed}"
        tags = {
            "icss.protocol_run": identity,
            "icss.protocol": asked.protocol.name,
            "icss.setting": asked.protocol.setting,
            "icss.preset": asked.preset.name,
            "icss.model": asked.model,
            "icss.split_hash": manifest.manifest_hash,
        }
        run_id = tracking.create_run(PROTOCOLS, name=title, tags=tags)
    # again where the run is known: who was stopped here had written neither
    tracking.log_parameters(run_id, asked.model_dump(mode="json"))
    tracking.write_json(run_id, "split.json", manifest.model_dump(mode="json"))
    tracking.set_tags(run_id, {"icss.status": "running", "icss.revision": code_revision(settings)})
    return run_id


def _known(tracking: Tracking, run_id: str, step: int, version: int) -> SegmentationReport | None:
    """The report of a step that this run has finished with this version."""
    record = tracking.get(run_id)
    if record is None or record.tags.get(_MARK.format(step)) != str(version):
        return None
    return SegmentationReport.model_validate(tracking.read_json(run_id, _REPORT.format(step)))


def _score(
    tracking: Tracking,
    run_id: str,
    asked: ProtocolRun,
    version: int,
    settings: Settings,
    *,
    new: int,
    pictures: int,
) -> SegmentationReport:
    """The report of a step; maps go to the run as `maps/SCENE.png`."""
    _logger.info("scoring version %d", version)
    request: dict[str, Any] = {
        "dataset": asked.dataset,
        "new": new,
        "settings": settings,
        "pictures": pictures,
        "scales": asked.preset.test_scales,
    }
    if asked.workers:
        report, maps = _score_on_cluster(asked, version, request)
    else:
        report, maps = score_version(asked.model, version, **request)
    for scene, labels in maps.items():
        tracking.write_bytes(run_id, f"maps/{scene}.png", map_png(labels))
    return report


def _score_on_cluster(asked: ProtocolRun, version: int, request: dict[str, Any]) -> Scored:
    """`score_version` on a worker of the cluster.

    Settings are its argument: a closure over them would lie, keys and all, in Ray's table of functions.
    """
    cluster = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's own gap
    gpus = 1 if asked.gpu or (asked.gpu is None and cluster.get("GPU", 0)) else 0
    plain: Any = score_version  # Ray's annotations know no arguments by name
    task = ray.remote(plain).options(
        num_cpus=asked.cpus_per_worker,
        num_gpus=gpus,
        # a trial of a sweep has reserved no processor for it
        scheduling_strategy=PlacementGroupSchedulingStrategy(placement_group=None),  # type: ignore[arg-type]  # as documented
    )
    scored: Scored = ray.get(task.remote(asked.model, version, **request))
    return scored


def _write(tracking: Tracking, run_id: str, history: TaskHistory, step: int, version: int) -> None:
    """The history after a step, and last of all the mark that it is finished."""
    means = history.means[-1].model_dump(exclude={"groups"})
    tracking.write_text(run_id, "history.md", history.to_markdown())
    tracking.write_json(run_id, "history.json", history.model_dump(mode="json"))
    values = {**means, "mean_forgetting": history.mean_forgetting}
    known = {name: value for name, value in values.items() if value is not None}
    tracking.log_metrics(run_id, [(step, time.time(), known)])
    tracking.set_tags(run_id, {_MARK.format(step): str(version)})
