"""The main job's result: as a table to look at, as JSON to compute with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict
from rich.table import Table

from icss_core.metrics import ConfusionAccumulator, SegmentationReport, segmentation_report
from icss_core.metrics.forgetting import ForgettingReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.demo.session import SessionResult


class SessionSummary(BaseModel):
    """The new class on one image."""

    model_config = ConfigDict(extra="forbid")

    clicks: dict[str, int]
    """Class to number of clicks."""
    update: str
    """Id of the update, which is its MLflow run."""
    version: int
    """Of the updated network."""
    update_seconds: float
    """From the accepted request to the registered version."""
    prediction_seconds: float
    """Of the updated network over the whole image, reading and writing included."""
    forgetting: ForgettingReport | None
    """What changed, measured without ground truth."""
    warnings: list[str]


class DemoReport(BaseModel):
    """Everything the main job measured, written to report.json."""

    model_config = ConfigDict(extra="forbid")

    dataset: str
    manifest_hash: str
    classes: list[str]
    old_classes: list[str]
    new_class: str
    preset: str
    overrides: dict[str, Any]
    model: str
    versions: dict[str, int]
    """Versions of the memory network and, in a model of its own, of the control network."""
    sessions: dict[str, SessionSummary]
    """By image, in the order worked on."""
    scores: dict[str, SegmentationReport]
    """Of the memory, updated and control networks; IoU image-wise and pooled, each mean named."""
    seconds: dict[str, float]
    """Wall time of each part."""
    seed: int
    code_version: str


def summary_of(result: SessionResult) -> SessionSummary:
    """A session without its arrays."""
    return SessionSummary(
        clicks=result.update.clicks,
        update=result.update.id,
        version=result.update.result_version or 0,
        update_seconds=round(result.update_seconds, 1),
        prediction_seconds=round(result.prediction_seconds, 2),
        forgetting=result.update.forgetting,
        warnings=list(result.update.warnings),
    )


def scores_of(
    results: Sequence[SessionResult], classes: Sequence[str], *, new: str
) -> dict[str, SegmentationReport]:
    """Compare all maps with the truth, by network; the new class does not exist for the memory network."""
    counts: dict[str, ConfusionAccumulator] = {}
    for result in results:
        for network, predicted in result.maps.items():
            seen = counts.setdefault(network, ConfusionAccumulator(len(classes)))
            seen.update(predicted, result.scene.truth, image=result.scene.name)
    added = [list(classes).index(new)]
    return {
        network: segmentation_report(seen, class_names=classes, new_classes=added)
        for network, seen in counts.items()
    }


def score_table(report: DemoReport) -> Table:
    """IoU of each class and of the groups of classes: memory, updated and, if trained, control."""
    images = list(report.sessions)
    table = Table(
        title=f"IoU in %, image-wise over {len(images)} image{'s' * (len(images) > 1)}: {', '.join(images)}",
        caption="Means are over classes, then over images. Old and all count the background.",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("")
    for network in report.scores:
        table.add_column(network, justify="right")
    for name in report.classes:
        label = f"{name} (new)" if name == report.new_class else name
        cells = [_percent(scores.classes[name].iou_image_wise) for scores in report.scores.values()]
        table.add_row(label, *cells, style="bold" if name == report.new_class else None)
    table.add_section()
    for label, group in (("old classes", "old_with_background"), ("all classes", "all_with_background")):
        means = [getattr(scores.mean_iou_image_wise, group) for scores in report.scores.values()]
        table.add_row(f"mean of {label}", *map(_percent, means))
    return table


def findings(report: DemoReport) -> list[str]:
    """The three main findings, as sentences."""
    updated, memory = report.scores["updated"], report.scores["memory"]
    sentences = []
    gained = updated.classes[report.new_class].iou_image_wise
    if gained is not None:
        sentences.append(f"{report.new_class}: from nothing to {100 * gained:.1f} % IoU")
    for name in report.old_classes:
        before, after = memory.classes[name].iou_image_wise, updated.classes[name].iou_image_wise
        if before is not None and after is not None:
            sentences.append(f"{name}: {100 * before:.1f} % before, {100 * after:.1f} % after")
    control = report.scores.get("control")
    whole = updated.mean_iou_image_wise.all_with_background
    best = None if control is None else control.mean_iou_image_wise.all_with_background
    if whole is not None and best:
        sentences.append(f"all classes: {100 * whole / best:.0f} % of the control's mean IoU")
    return sentences


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
