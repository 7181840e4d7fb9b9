"""What the controller of a training writes to MLflow and to the job's log; workers write nothing there."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from ray.train import UserCallback

from icss_core.labels import BACKGROUND
from services.errors import TrackingError
from services.settings import load_settings
from services.tracking import Tracking
from services.training.report import IterationPoint, WorkerReport
from services.training_progress import TrainingLine

if TYPE_CHECKING:
    from collections.abc import Iterable

LEGEND: Final = "classes.json"
"""Artefact beside metrics that go by the index of a class: its name."""
_logger = logging.getLogger(__name__)


class MlflowCallback(UserCallback):
    """Logs each report to one MLflow run. Travels to the controller by pickle, so it connects only there.

    Args:
        run_id: the run, which the job has created.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._failures = 0
        self._resumed: list[int] = []
        self._points: list[tuple[int, float, dict[str, float]]] = []
        self._tags: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._has_legend = False
        self._last: int | None = None
        self._tracking: Tracking | None = None

    def after_report(
        self, run_context: object, metrics: list[dict[str, Any]], checkpoint: object | None
    ) -> None:
        """All workers have reported: log the iterations since the last time, and the validation if any."""
        del run_context, checkpoint
        reports = [WorkerReport.model_validate(one) for one in metrics]
        first = reports[0]
        if first.resumed_at is not None:
            self._resumed.append(first.resumed_at)
            self._tags["icss.resumed_at"] = ",".join(map(str, self._resumed))
        if first.checkpoint:
            self._tags["icss.checkpoint_iteration"] = str(first.iteration)
        summaries = combined([one.points for one in reports])
        scores = {} if first.validation is None else scores_of(first.validation)
        self._note(summaries)
        if scores:
            self._points.append((first.iteration, time.time(), scores))
        if first.validation is not None and not self._has_legend:
            self._texts[LEGEND] = legend(first.validation)
            self._has_legend = True
        self._send()
        self._say(first, summaries, scores)

    def _note(self, summaries: list[tuple[int, dict[str, float]]]) -> None:
        """Keep iterations not logged yet: a training that resumes from a checkpoint repeats some."""
        if self._last is None:
            self._last = self._last_of_earlier_starts()
        for iteration, values in summaries:
            if iteration > self._last:
                self._last = iteration
                self._points.append((iteration, time.time(), values))

    def _last_of_earlier_starts(self) -> int:
        try:
            history = self._connected().metric_history(self._run_id, "loss")
        except TrackingError as error:
            _logger.warning("iterations of an earlier start may be logged twice: %s", error)
            return 0
        return max((iteration for iteration, _ in history), default=0)

    def _connected(self) -> Tracking:
        if self._tracking is None:
            self._tracking = Tracking(load_settings())
        return self._tracking

    def after_exception(self, run_context: object, worker_exceptions: dict[int, Exception]) -> None:
        """Workers have died: count it, and keep what they said."""
        del run_context
        self._failures += 1
        self._tags["icss.failures"] = str(self._failures)
        text = "\n\n".join(f"worker {rank}: {error}" for rank, error in sorted(worker_exceptions.items()))
        self._texts[f"failures/{self._failures}.txt"] = text
        self._send()

    def _send(self) -> None:
        """Send what is waiting. A tracking server that is away for a while must not end a long training."""
        try:
            tracking = self._connected()
            if self._points:
                tracking.log_metrics(self._run_id, self._points)
                self._points = []
            if self._tags:
                tracking.set_tags(self._run_id, self._tags)
                self._tags = {}
            while self._texts:
                path, text = next(iter(self._texts.items()))
                tracking.write_text(self._run_id, path, text)
                del self._texts[path]
        except TrackingError as error:
            _logger.warning("kept for the next report: %s", error)

    def _say(
        self, report: WorkerReport, summaries: list[tuple[int, dict[str, float]]], scores: dict[str, float]
    ) -> None:
        last = summaries[-1][1] if summaries else {}
        validation = report.validation or {}
        iou = {f"val_iou/{name}": value for name, value in validation.items() if not math.isnan(value)}
        means = {name: value for name, value in scores.items() if not name.startswith("val_iou/")}
        progress = TrainingLine(
            iteration=report.iteration,
            iterations=report.iterations,
            seconds=round(report.seconds, 1),
            loss=_rounded(last.get("loss"), 4),
            crops_per_second=_rounded(last.get("samples_per_second"), 1),
            scores={name: round(value, 3) for name, value in (iou | means).items()},
            saved=report.checkpoint,
        )
        sys.stdout.write(progress.line() + "\n")
        sys.stdout.flush()


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def combined(points: list[list[IterationPoint]]) -> list[tuple[int, dict[str, float]]]:
    """One line an iteration from the points of all ranks.

    Args:
        points: by rank, then by iteration.

    Returns:
        (iteration, metrics): the mean loss and its terms, crops of all ranks a second, and the mean fraction
        of the time in which a worker waited for its input.
    """
    lines = []
    for same in zip(*points, strict=True):
        values = {
            "loss": _mean([point.loss for point in same]),
            "lr": same[0].lr,
            "samples_per_second": sum(point.samples for point in same)
            / max(*(point.seconds for point in same), 1e-9),
            "input_wait_share": _mean([point.input_wait / max(point.seconds, 1e-9) for point in same]),
        }
        if len(same[0].terms) > 1:  # a single term is the loss
            values |= {f"loss/{name}": _mean([point.terms[name] for point in same]) for name in same[0].terms}
        lines.append((same[0].iteration, values))
    return lines


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def scores_of(validation: dict[str, float]) -> dict[str, float]:
    """MLflow metrics of a validation: IoU per class that occurs, their mean with and without background.

    Metrics are named by the index of a class, such as `val_iou/2`, because class names may have characters
    that MLflow does not allow in names of metrics. `LEGEND` has the class names.
    """
    defined = [(index, value) for index, value in enumerate(validation.values()) if not math.isnan(value)]
    scores = {f"val_iou/{index}": value for index, value in defined}
    for key, values in (
        ("val_miou", [value for _, value in defined]),
        ("val_miou_of_interest", [value for index, value in defined if index != BACKGROUND]),
    ):
        if values:
            scores[key] = sum(values) / len(values)
    return scores


def legend(names: Iterable[str]) -> str:
    """Class names by index, as JSON, for the artefact `LEGEND`."""
    return json.dumps(dict(enumerate(names)), ensure_ascii=False, indent=1)
