"""From the scores of a carry-over sweep to rows: what holds on clicked images, and what elsewhere."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.tune.carry_over.means import iou_means
from services.tune.spread import Spread
from services.tune.table import Row, group_seeds

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """How an update's own verdict on context images, which knows no truth, agrees with their truth."""

    worse: int
    """Images, over all seeds, whose mean IoU of all classes is below the memory network's."""
    worse_named: int
    """Those of them that the verdict names."""
    sound: int
    """The other images."""
    sound_named: int

    @classmethod
    def of(cls, images: Sequence[tuple[bool, bool]]) -> Warned | None:
        """From images that are worse or not, and named or not; None without images."""
        if not images:
            return None
        named = {kind: [warned for worse, warned in images if worse is kind] for kind in (True, False)}
        return cls(
            worse=len(named[True]),
            worse_named=sum(named[True]),
            sound=len(named[False]),
            sound_named=sum(named[False]),
        )


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
    warned: Warned | None
    """Over the context images; None where there are none."""
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
    compared = scored and all(one.image in memory for one in everywhere)

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

    def worse(one: CarriedScore) -> bool:
        return (one.score.mean or 0.0) < (memory[one.image].score.mean or 0.0)

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
        worse=sum(map(worse, everywhere)) if compared else None,
        unclicked=len(everywhere),
        warned=Warned.of([(worse(one), one.warned) for one in everywhere if one.in_context])
        if compared
        else None,
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
