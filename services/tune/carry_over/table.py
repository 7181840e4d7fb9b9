"""From the scores of trials to rows of a table: what holds on clicked images, and what elsewhere."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from services.tune.carry_over.means import iou_means
from services.tune.spread import Spread, percent
from services.tune.table import Column, Row, TableLayout, group_seeds, mean_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from icss_core.evaluation import CarriedScore
    from services.tune.carry_over.trial import CarryOverTrial


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The unclicked image on which the old classes lose most, over all seeds."""

    image: str
    change: float
    """Mean IoU of its old classes less that of the memory network, as a fraction."""

    @classmethod
    def of(cls, changes: Sequence[tuple[str, float]]) -> Worst:
        """The lowest of the changes of images."""
        image, change = min(changes, key=lambda pair: pair[1])
        return cls(image=image, change=change)


@dataclass(frozen=True, kw_only=True)
class CarryOverRow(Row):
    """A row of a carry-over sweep. `iou` and `mean` are over images that nobody clicked.

    Changes are differences of IoU to the memory network on the same images, as fractions; old classes are
    those of the memory network, background included.
    """

    what: str
    clicked_images: int
    context_images: int
    annotations: int
    clicked_mean: Spread | None
    clicked_new: Spread | None
    """IoU of the new class on the clicked images."""
    clicked_change: Spread | None
    """Change of the old classes' mean there."""
    new_in_district: Spread | None
    """IoU of the new class on unclicked images of the clicked district."""
    new_elsewhere: Spread | None
    """On those of other districts."""
    old_change: Spread | None
    """Change of the old classes' mean on unclicked images."""
    old_change_apart: Spread | None
    """The same over those that the update did not see as context either."""
    worst: Worst | None
    worse: int | None
    """Unclicked images, over all seeds, whose mean IoU of all classes is below the memory network's."""
    unclicked: int
    of_control: float | None
    """IoU of the new class on unclicked images as a fraction of the control network's there."""
    seconds: float

    def position(self, axis: str) -> float | None:
        """As of any row; memory and control network have none: they are levels to compare with."""
        own = {
            "annotations": self.annotations,
            "clicked_images": self.clicked_images,
            "context_images": self.context_images,
        }
        if self.what != "update":
            return None
        return float(own[axis]) if axis in own else super().position(axis)

    def label(self, axis: str) -> str:
        """As of any row, and the numbers that make another line."""
        label = super().label(axis)
        if self.what != "update":
            return label
        own = {
            "annotations": f"{self.annotations} clicks",
            "clicked_images": f"{self.clicked_images} clicked",
            "context_images": f"{self.context_images} context",
        }
        return ", ".join([label, *(words for name, words in own.items() if name != axis)])

    @property
    def line_style(self) -> str:
        """Dotted for the control network, dashed for the memory network."""
        return {"control": ":", "memory": "--", "update": "-."}[self.what]


def _columns(rows: Sequence[CarryOverRow]) -> list[Column[CarryOverRow]]:
    classes = dict.fromkeys(name for row in rows for name in row.iou)
    columns: list[Column[CarryOverRow]] = [
        Column("clicked", lambda row: row.clicked_images or "-"),
        Column("context", lambda row: row.context_images if row.what == "update" else "-"),
        Column("clicks", lambda row: row.annotations or "-"),
        Column("mean, clicked", lambda row: percent(row.clicked_mean)),
        Column("new, clicked", lambda row: percent(row.clicked_new)),
        *map(_iou_column, classes),
        Column("new, same district", lambda row: percent(row.new_in_district)),
        Column("new, elsewhere", lambda row: percent(row.new_elsewhere)),
        Column("of control", lambda row: "-" if row.of_control is None else f"{row.of_control:.0%}"),
        Column("old classes", lambda row: _change(row.old_change)),
        Column("worst image", lambda row: _worst(row.worst)),
        Column(
            "worse than memory", lambda row: "-" if row.worse is None else f"{row.worse} of {row.unclicked}"
        ),
        Column("seeds", lambda row: row.seeds),
        Column("s", lambda row: f"{row.seconds:.0f}" if row.seconds else "-"),
    ]
    return columns


def _iou_column(name: str) -> Column[CarryOverRow]:
    return Column(f"{name}, unclicked", lambda row: percent(row.iou.get(name)))


def _change(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{'+' if spread.mean > 0 else ''}{spread.percent()}"


def _worst(worst: Worst | None) -> str:
    return "-" if worst is None else f"{100 * worst.change:+.1f} ({worst.image})"


def _csv_columns(_: Sequence[CarryOverRow]) -> list[Column[CarryOverRow]]:
    return [
        Column("what", lambda row: row.what),
        Column("clicked_images", lambda row: row.clicked_images),
        Column("context_images", lambda row: row.context_images),
        Column("annotations", lambda row: row.annotations),
        Column("clicked_mean", lambda row: mean_of(row.clicked_mean)),
        Column("clicked_new", lambda row: mean_of(row.clicked_new)),
        Column("clicked_change", lambda row: mean_of(row.clicked_change)),
        Column("new_in_district", lambda row: mean_of(row.new_in_district)),
        Column("new_elsewhere", lambda row: mean_of(row.new_elsewhere)),
        Column("old_change", lambda row: mean_of(row.old_change)),
        Column("old_change_apart", lambda row: mean_of(row.old_change_apart)),
        Column("worst_change", lambda row: None if row.worst is None else row.worst.change),
        Column("worst_image", lambda row: None if row.worst is None else row.worst.image),
        Column("worse", lambda row: row.worse),
        Column("unclicked", lambda row: row.unclicked),
        Column("of_control", lambda row: row.of_control),
        Column("seconds", lambda row: row.seconds),
    ]


CARRY_OVER_TABLE: Final = TableLayout(
    columns=_columns,
    csv_columns=_csv_columns,
    note=(
        "IoU in per cent, image-wise; ± is the standard deviation over seeds, which choose other images to "
        "click on, other clicks and another training. Old classes: the mean of their IoU, background "
        "included, on unclicked images, less the memory network's on the same images; worst image: the same "
        "of one image, the lowest of all seeds. Worse than memory: unclicked images whose mean over all "
        "classes is below the memory network's."
    ),
)


def rows_of(
    trials: Sequence[CarryOverTrial], results: Mapping[str, Sequence[CarriedScore]]
) -> list[CarryOverRow]:
    """One row for each case, variant, choice of numbers, and numbers of images and clicks.

    Args:
        trials: of a sweep.
        results: by trial id; trials without are left out.
    """
    levels = {
        (trial.case, trial.what): {one.image: one for one in results.get(trial.trial_id, ())}
        for trial in trials
        if trial.what != "update"
    }
    return [
        _row(
            group,
            [results[one.trial_id] for one in group],
            levels.get((group[0].case, "memory"), {}),
            levels.get((group[0].case, "control"), {}),
        )
        for group in group_seeds(trials, results)
    ]


def _row(
    group: Sequence[CarryOverTrial],
    results: Sequence[Sequence[CarriedScore]],
    memory: Mapping[str, CarriedScore],
    control: Mapping[str, CarriedScore],
) -> CarryOverRow:
    """The row of trials that differ in their seed.

    Args:
        group: the trials.
        results: of each trial, by image.
        memory: scores of the memory network by image; empty where it was not scored.
        control: of the control network.
    """
    first = group[0]
    clicked = [[one for one in seed if one.relation == "clicked"] for seed in results]
    unclicked = [[one for one in seed if one.relation != "clicked"] for seed in results]
    means = [iou_means(seed) for seed in unclicked]
    changes = [(one.image, _old_change(one, memory, first.old)) for seed in unclicked for one in seed]
    known = [(image, change) for image, change in changes if change is not None]
    scored = first.what == "update"
    everywhere = [one for seed in unclicked for one in seed]

    def over_seeds(
        seeds: Sequence[Sequence[CarriedScore]],
        value: Callable[[CarriedScore], float | None],
        wanted: Callable[[CarriedScore], bool] = lambda _: True,
    ) -> Spread | None:
        """Mean over the images of a seed, spread over seeds."""
        of_seed = [[value(one) for one in seed if wanted(one)] for seed in seeds]
        return Spread.of_some([_mean(one) for one in of_seed])

    def new(one: CarriedScore) -> float | None:
        return one.score.iou.get(first.new)

    def old_change(one: CarriedScore) -> float | None:
        return _old_change(one, memory, first.old) if scored else None

    mean = over_seeds(unclicked, lambda one: one.score.mean)
    assert mean is not None  # noqa: S101 - a sweep has unclicked images, and images show classes
    return CarryOverRow(
        case=first.case,
        variant=first.variant,
        what=first.what,
        values=first.values,
        seeds=len(group),
        clicked_images=first.clicked_images,
        context_images=first.context_images,
        annotations=first.annotations,
        iou={key.removeprefix("iou/"): Spread.of_some([one.get(key) for one in means]) for key in means[0]},
        mean=mean,
        clicked_mean=over_seeds(clicked, lambda one: one.score.mean),
        clicked_new=over_seeds(clicked, new),
        clicked_change=over_seeds(clicked, old_change),
        new_in_district=over_seeds(unclicked, new, lambda one: one.relation == "same district"),
        new_elsewhere=over_seeds(unclicked, new, lambda one: one.relation == "other district"),
        old_change=over_seeds(unclicked, old_change),
        old_change_apart=over_seeds(unclicked, old_change, lambda one: not one.in_context),
        worst=Worst.of(known) if scored and known else None,
        worse=sum((one.score.mean or 0.0) < (memory[one.image].score.mean or 0.0) for one in everywhere)
        if scored and all(one.image in memory for one in everywhere)
        else None,
        unclicked=len(everywhere),
        of_control=_of_control(everywhere, control, first.new) if scored else None,
        seconds=statistics.mean(seed[0].seconds for seed in results),
    )


def _old_change(one: CarriedScore, memory: Mapping[str, CarriedScore], old: Sequence[str]) -> float | None:
    """Mean IoU of the old classes on an image less the memory network's; None where that was not scored."""
    if one.image not in memory:
        return None
    before = memory[one.image].score.iou
    names = [name for name in before if name not in _new_names(before, old) and before[name] is not None]
    return _mean([(one.score.iou[name] or 0.0) - (before[name] or 0.0) for name in names])


def _new_names(iou: Mapping[str, float | None], old: Sequence[str]) -> set[str]:
    """Classes that are neither old nor the background, which comes first."""
    return set(list(iou)[1:]) - set(old)


def _of_control(
    scores: Sequence[CarriedScore], control: Mapping[str, CarriedScore], new: str
) -> float | None:
    """Mean IoU of the new class as a fraction of the control network's on the same images."""
    pairs = [
        (one.score.iou[new], control[one.image].score.iou[new]) for one in scores if one.image in control
    ]
    own, ceiling = (_mean([pair[place] for pair in pairs]) for place in (0, 1))
    return None if own is None or not ceiling else own / ceiling


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return statistics.mean(there) if there else None
