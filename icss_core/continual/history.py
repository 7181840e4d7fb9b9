"""IoU of every class after every task, and how much of it was forgotten."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, model_validator

from icss_core.continual.weighted_score import WeightedScore
from icss_core.dataset import BACKGROUND_CLASS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from icss_core.metrics import SegmentationReport

Scores = dict[str, float | None]


class TaskMeans(BaseModel):
    """Means of pooled IoU after a task, in [0, 1]; None where the ground truth has no class of the group."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    all_with_background: float | None
    all_without_background: float | None
    """What MiB's tables call "all"."""
    old_with_background: float | None
    old_without_background: float | None
    """Classes of interest of all earlier tasks; None after the first task."""
    new: float | None
    groups: tuple[float | None, ...]
    """Mean over the classes of each task so far, in the order of the tasks."""


class TaskHistory(BaseModel):
    """Pooled IoU of every class after every task of a protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    groups: tuple[tuple[str, ...], ...]
    """Class names by task."""
    iou: tuple[Scores, ...]
    """One mapping for each finished task, from class name to IoU, background first; None where the ground
    truth lacks the class."""
    score: WeightedScore | None = None
    """What the protocol is ranked by, with class names; None: nothing but means."""

    @model_validator(mode="after")
    def _tasks_know_their_classes(self) -> Self:
        for task, scores in enumerate(self.iou):
            expected = [BACKGROUND_CLASS.name, *(name for group in self.groups[: task + 1] for name in group)]
            if list(scores) != expected:
                raise ValueError(f"after task {task} the classes are {expected}, not {list(scores)}")
        return self

    @classmethod
    def start(cls, groups: Sequence[Sequence[str]], score: WeightedScore | None = None) -> TaskHistory:
        """A history before its first task."""
        return cls(groups=tuple(tuple(group) for group in groups), iou=(), score=score)

    def after(self, report: SegmentationReport) -> TaskHistory:
        """The history with one more task, scored on all classes so far."""
        scores = {name: one.iou_pooled for name, one in report.classes.items()}
        return TaskHistory(groups=self.groups, iou=(*self.iou, scores), score=self.score)

    @property
    def means(self) -> tuple[TaskMeans, ...]:
        """Means after each task."""
        return tuple(self._means(task) for task in range(len(self.iou)))

    @property
    def scores(self) -> tuple[float | None, ...]:
        """The protocol's score after each task; None before all its classes are learnt, or without one."""
        return tuple(None if self.score is None else self.score.of(iou) for iou in self.iou)

    @property
    def forgetting(self) -> Scores:
        """By class of interest, its best IoU after an earlier task, minus its IoU after the last task.

        Chaudhry et al., arXiv 1801.10112. Classes of the last task are left out.
        """
        if not self.iou:
            return {}
        last, earlier = self.iou[-1], self.iou[:-1]
        forgotten: Scores = {}
        for group in self.groups[: len(earlier)]:
            for name in group:
                before = [one for scores in earlier if (one := scores.get(name)) is not None]
                now = last[name]
                forgotten[name] = max(before) - now if before and now is not None else None
        return forgotten

    @property
    def mean_forgetting(self) -> float | None:
        """Mean over the classes that could be forgotten."""
        return _mean(self.forgetting.values())

    def to_markdown(self) -> str:
        """The matrix as a table in per cent, a row a task, and the means beside it."""
        classes = [BACKGROUND_CLASS.name, *(name for group in self.groups for name in group)]
        groups = [f"task {number}" for number in range(len(self.groups))]
        columns = ["after", *classes, *groups, "old", "new", "all", "all, with background"]
        columns += [] if self.score is None else [self.score.key]
        lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        for task, (scores, means, ranked) in enumerate(zip(self.iou, self.means, self.scores, strict=True)):
            cells = [f"task {task}", *(_percent(scores.get(name)) for name in classes)]
            cells += [_percent(one) for one in means.groups] + ["-"] * (len(groups) - len(means.groups))
            cells += [_percent(means.old_without_background), _percent(means.new)]
            cells += [_percent(means.all_without_background), _percent(means.all_with_background)]
            cells += [] if self.score is None else [_percent(ranked)]
            lines.append(f"| {' | '.join(cells)} |")
        forgotten = self.forgetting
        cells = ["forgotten", "-", *(_percent(forgotten.get(name)) for name in classes[1:])]
        behind = ["-"] * (1 if self.score is None else 2)
        cells += ["-"] * (len(columns) - len(cells) - 1 - len(behind))
        cells += [_percent(self.mean_forgetting), *behind]
        lines += [f"| {' | '.join(cells)} |"] * (len(self.iou) > 1)
        lines += ["", "IoU in per cent, pooled over all images; old, new and all without the background."]
        lines += [] if self.score is None else ["", f"{self.score}."]
        return "\n".join(lines) + "\n"

    def _means(self, task: int) -> TaskMeans:
        scores = self.iou[task]
        old = [scores[name] for group in self.groups[:task] for name in group]
        new = [scores[name] for name in self.groups[task]]
        background = [scores[BACKGROUND_CLASS.name]]
        return TaskMeans(
            all_with_background=_mean([*background, *old, *new]),
            all_without_background=_mean([*old, *new]),
            old_with_background=_mean([*background, *old]),
            old_without_background=_mean(old),
            new=_mean(new),
            groups=tuple(_mean([scores[name] for name in group]) for group in self.groups[: task + 1]),
        )


def _mean(values: Iterable[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return statistics.fmean(defined) if defined else None


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
