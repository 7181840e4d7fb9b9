"""What the controller of a pretraining writes to MLflow and to the job's log; workers write nothing there."""

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
        self._tracking: Tracking | None = None

    def after_report(
        self, run_context: object, metrics: list[dict[str, Any]], checkpoint: object | None
    ) -> None:
        """All workers have reported: log the steps since the last time, and the validation if any."""
        del run_context
        first = metrics[0]
        start = first.get("start")
        if start is not None and start["resumed"]:
            self._resumed.append(int(start["step"]))
            self._tags["icss.resumed_at"] = ",".join(map(str, self._resumed))
        if checkpoint is not None:
            self._tags["icss.checkpoint_step"] = str(first["step"])
        summaries = combined([one["points"] for one in metrics])
        validation = first.get("validation")
        scores = {} if validation is None else scores_of(validation)
        self._points += [(step, time.time(), values) for step, values in summaries]
        if scores:
            self._points.append((int(first["step"]), time.time(), scores))
        if validation is not None and not self._has_legend:
            self._texts[LEGEND] = legend(validation)
            self._has_legend = True
        self._send()
        self._say(first, summaries, validation or {}, scores, saved=checkpoint is not None)

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
            if self._tracking is None:
                self._tracking = Tracking(load_settings())
            if self._points:
                self._tracking.log_metrics(self._run_id, self._points)
                self._points = []
            if self._tags:
                self._tracking.set_tags(self._run_id, self._tags)
                self._tags = {}
            while self._texts:
                path, text = next(iter(self._texts.items()))
                self._tracking.write_text(self._run_id, path, text)
                del self._texts[path]
        except TrackingError as error:
            _logger.warning("kept for the next report: %s", error)

    def _say(
        self,
        report: dict[str, Any],
        summaries: list[tuple[int, dict[str, float]]],
        validation: dict[str, float],
        scores: dict[str, float],
        *,
        saved: bool,
    ) -> None:
        parts = [f"iteration {report['step']}/{report['iterations']}, {report['seconds']:.0f} s"]
        if summaries:
            last = summaries[-1][1]
            parts.append(f"loss {last['loss']:.4f}, {last['samples_per_second']:.1f} crops/s")
        iou = {f"val_iou/{name}": value for name, value in validation.items() if not math.isnan(value)}
        means = {name: value for name, value in scores.items() if not name.startswith("val_iou/")}
        parts += [f"{name} {value:.3f}" for name, value in (iou | means).items()]
        if saved:
            parts.append("checkpoint saved")
        sys.stdout.write("pretraining: " + "; ".join(parts) + "\n")
        sys.stdout.flush()


def combined(points: list[list[list[float]]]) -> list[tuple[int, dict[str, float]]]:
    """One line a step from the points of all ranks.

    Args:
        points: by rank, then by step: [step, loss, lr, seconds, seconds waited for input, crops].

    Returns:
        (step, metrics): the mean loss, crops of all ranks a second, and the mean share of the time in which
        a worker waited for its input.
    """
    found = []
    for rows in zip(*points, strict=True):
        seconds = [row[3] for row in rows]
        values = {
            "loss": sum(row[1] for row in rows) / len(rows),
            "lr": rows[0][2],
            "samples_per_second": sum(row[5] for row in rows) / max(*seconds, 1e-9),
            "input_wait_share": sum(row[4] / max(row[3], 1e-9) for row in rows) / len(rows),
        }
        found.append((int(rows[0][0]), values))
    return found


def scores_of(validation: dict[str, float]) -> dict[str, float]:
    """MLflow metrics of a validation: IoU per class that occurs, their mean with and without background.

    Classes go by their index, `val_iou/2`: a name may have signs that no metric may have, and two names that
    differ in such signs alone would become one metric. `LEGEND` has the names.
    """
    known = [(index, value) for index, value in enumerate(validation.values()) if not math.isnan(value)]
    scores = {f"val_iou/{index}": value for index, value in known}
    for key, values in (
        ("val_miou", [value for _, value in known]),
        ("val_miou_of_interest", [value for index, value in known if index != BACKGROUND]),
    ):
        if values:
            scores[key] = sum(values) / len(values)
    return scores


def legend(names: Iterable[str]) -> str:
    """Class names by index, as JSON, for the artefact `LEGEND`."""
    return json.dumps(dict(enumerate(names)), ensure_ascii=False, indent=1)
