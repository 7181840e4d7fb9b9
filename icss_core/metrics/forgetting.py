"""The forgetting report: what an update did to the old classes, measured without ground truth.

The reference is the memory network's map: where it shows an old class and nobody clicked, the updated network
should show the same class, unless the new class is there. Pixels that became the new class are therefore
counted separately from those that became another old class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from icss_core.errors import InvalidParameterError
from icss_core.labels import BACKGROUND, IGNORE
from icss_core.metrics.confusion import joint_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from icss_core.labels import LabelSpace
    from icss_core.metrics.confusion import Counts

Fraction = Annotated[float, Field(ge=0, le=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ForgettingLimits(_Frozen):
    """Limits beyond which the report warns; sound updates with some hundred clicks a class stay within."""

    lost: Fraction = 0.3
    """An old class of interest lost more than this fraction of its unclicked pixels, to whatever class."""
    smallest_fraction: Fraction = 0.001
    """Old classes on less than this fraction of the image are too small to warn about."""
    clicked_accuracy: Fraction = 0.7
    """A class is right on fewer than this fraction of its clicks."""
    fewest_clicks: Annotated[int, Field(ge=1)] = 5
    """Classes with fewer clicks than this are not judged by them."""
    worse_on_clicks: Fraction = 0.1
    """The updated network is right on old-class clicks by more than this below the memory network."""
    covers: Fraction = 0.95
    """A new class covers more than this fraction of the image."""
    telling_clicks: Annotated[float, Field(ge=0)] = 1
    """A new class covers so little, or there are so few clicks of other classes, that fewer of them than this
    would lie on it if they lay anywhere: they cannot tell how much of it is false. Of 24 sessions of 10 to
    300 clicks on classes of 0.5 to 8 % of 6 images of Dubai it names nine, in which the new class had an IoU
    of 29 to 58 %; in the others it had 6 to 90 %."""


class ClassForgetting(_Frozen):
    """One class before and after. Fractions are in [0, 1]; None where there is nothing to divide by."""

    new: bool
    memory_pixels: int
    """Pixels the memory network gives to the class (0 for a new one)."""
    updated_pixels: int
    """Pixels the updated network gives to it."""
    agreement: Fraction | None
    """Of the unclicked pixels the memory network gave to this old class, the fraction it keeps."""
    taken_by_new: Fraction | None
    """Of the same pixels, the fraction that is a new class now."""
    taken_by_old: Fraction | None
    """Of the same pixels, the fraction that is another old class now; the three add up to 1."""
    lost_share_of_image: Fraction | None
    """Pixels that were this class and are another now, as a fraction of the image."""
    gained_share_of_image: Fraction | None
    """Pixels that were another class and are this one now, as a fraction of the image."""
    clicks: int
    """Clicks of the class on compared pixels."""
    clicked_accuracy: Fraction | None
    """Fraction of them where the updated network gives the clicked class."""
    memory_clicked_accuracy: Fraction | None
    """The same for the memory network (None for a new class, which it cannot give)."""


class ForgettingReport(_Frozen):
    """What an update changed on one image, by the memory network's map, the updated map and the clicks."""

    sampled: bool
    """True: measured on a sample of windows; False: on the whole image."""
    pixels: int
    """Pixels compared: both maps have data there."""
    unclicked_pixels: int
    """Those without a click, on which agreement is measured."""
    agreement: Fraction | None
    """Fraction of the unclicked pixels that keep their class, background included."""
    agreement_of_interest: Fraction | None
    """The same over pixels that the memory network gave to old classes other than the background."""
    taken_by_new: Fraction | None
    """Fraction of the unclicked pixels that a new class took."""
    taken_by_old: Fraction | None
    """Fraction of the unclicked pixels that went from one old class to another."""
    changed_share_of_image: Fraction | None
    """Fraction of all pixels, clicked or not, with another class than before."""
    clicked_accuracy: Fraction | None
    """Fraction of the clicks that the updated network gets right."""
    classes: dict[str, ClassForgetting]
    """By class name, in the order of the label space."""
    warnings: tuple[str, ...]
    """What a person should look at before accepting the update; empty if nothing stands out."""


class ForgettingAccumulator:
    """Counts two maps of an image window by window; `report` turns the counts into a report.

    Args:
        label_space: of the updated network; old classes first.
        n_old: classes of the memory network, background included, 1 to len(label_space).
        sampled: the windows are a sample, not the whole image.
        limits: when to warn.

    Raises:
        InvalidParameterError: `n_old` is outside its range.
    """

    def __init__(
        self,
        label_space: LabelSpace,
        n_old: int,
        *,
        sampled: bool = False,
        limits: ForgettingLimits | None = None,
    ) -> None:
        if not 1 <= n_old <= len(label_space):
            raise InvalidParameterError(f"n_old must be from 1 to {len(label_space)}, not {n_old}")
        self._space = label_space
        self._n_old = n_old
        self._sampled = sampled
        self._limits = ForgettingLimits() if limits is None else limits
        self._moves: Counts = np.zeros((256, 256), np.int64)
        self._clicked_moves: Counts = np.zeros((256, 256), np.int64)
        self._click_updated: Counts = np.zeros((256, 256), np.int64)
        self._click_memory: Counts = np.zeros((256, 256), np.int64)

    def update(
        self,
        memory_labels: NDArray[np.uint8],
        updated_labels: NDArray[np.uint8],
        click_labels: NDArray[np.uint8],
    ) -> None:
        """Count a window or some rows; they must not overlap those before.

        Args:
            memory_labels: (h, W) uint8, the memory network's classes, 255 where there is no data.
            updated_labels: (h, W) uint8, the updated network's classes, 255 where there is no data.
            click_labels: (h, W) uint8, clicked classes (`ClickSet.label_map`), 255 where nothing was
                clicked. Clicks of the user only: pseudo-labels would hide just the pixels that should agree.

        Raises:
            InvalidParameterError: shapes differ, or a label is outside its label space.
        """
        shapes = {memory_labels.shape, updated_labels.shape, click_labels.shape}
        if len(shapes) > 1:
            raise InvalidParameterError(f"the three label maps must have one shape, not {sorted(shapes)}")
        moves = joint_counts(memory_labels, updated_labels)
        clicked = (click_labels != IGNORE) & (memory_labels != IGNORE) & (updated_labels != IGNORE)
        memory, updated, clicks = memory_labels[clicked], updated_labels[clicked], click_labels[clicked]
        _check("memory network", moves.sum(axis=1), self._n_old)
        _check("updated network", moves.sum(axis=0), len(self._space))
        _check("clicks", np.bincount(clicks, minlength=256), len(self._space))
        self._moves += moves
        self._clicked_moves += joint_counts(memory, updated)
        self._click_updated += joint_counts(clicks, updated)
        self._click_memory += joint_counts(clicks, memory)

    def report(self) -> ForgettingReport:
        """The report of everything counted so far."""
        size, n_old = len(self._space), self._n_old
        moves, clicked = self._moves[:n_old, :size], self._clicked_moves[:n_old, :size]
        unclicked = moves - clicked
        pixels, compared = int(moves.sum()), int(unclicked.sum())
        kept, by_new = int(np.trace(unclicked)), int(unclicked[:, n_old:].sum())
        of_interest = slice(BACKGROUND + 1, None)
        hits = np.diagonal(self._click_updated)[:size]
        classes = {name: self._class(index, moves, unclicked) for index, name in enumerate(self._space.names)}
        return ForgettingReport(
            sampled=self._sampled,
            pixels=pixels,
            unclicked_pixels=compared,
            agreement=_fraction(kept, compared),
            agreement_of_interest=_fraction(
                np.diagonal(unclicked)[of_interest].sum(), unclicked[of_interest].sum()
            ),
            taken_by_new=_fraction(by_new, compared),
            taken_by_old=_fraction(compared - kept - by_new, compared),
            changed_share_of_image=_fraction(pixels - int(np.trace(moves)), pixels),
            clicked_accuracy=_fraction(hits.sum(), self._click_updated.sum()),
            classes=classes,
            warnings=tuple(_warnings(classes, pixels, self._limits)),
        )

    def _class(self, index: int, moves: Counts, unclicked: Counts) -> ClassForgetting:
        pixels, new = moves.sum(), index >= self._n_old
        before = 0 if new else int(moves[index].sum())
        after = int(moves[:, index].sum())
        stayed = 0 if new else int(moves[index, index])
        row = np.zeros(len(self._space), np.int64) if new else unclicked[index]
        clicks = int(self._click_updated[index].sum())
        return ClassForgetting(
            new=new,
            memory_pixels=before,
            updated_pixels=after,
            agreement=_fraction(row[index], row.sum()),
            taken_by_new=_fraction(row[self._n_old :].sum(), row.sum()),
            taken_by_old=_fraction(row[: self._n_old].sum() - row[index], row.sum()),
            lost_share_of_image=_fraction(before - stayed, pixels),
            gained_share_of_image=_fraction(after - stayed, pixels),
            clicks=clicks,
            clicked_accuracy=_fraction(self._click_updated[index, index], clicks),
            memory_clicked_accuracy=None if new else _fraction(self._click_memory[index, index], clicks),
        )


def _warnings(classes: dict[str, ClassForgetting], pixels: int, limits: ForgettingLimits) -> list[str]:
    """Plain sentences, old classes first."""
    if not pixels:
        return ["no pixel of the image could be compared: it has no data where the networks predicted"]
    warnings: list[str] = []
    for name, scores in list(classes.items())[BACKGROUND + 1 :]:
        big = scores.memory_pixels >= limits.smallest_fraction * pixels
        if big and scores.agreement is not None and scores.agreement < 1 - limits.lost:
            warnings.append(
                f"old class {name!r} lost {1 - scores.agreement:.0%} of the memory network's pixels of it, "
                f"{scores.taken_by_new:.0%} to new classes and {scores.taken_by_old:.0%} to old ones"
            )
    clicks = sum(scores.clicks for scores in classes.values())
    for name, scores in classes.items():
        warnings += _click_warnings(name, scores, limits)
        covered = scores.updated_pixels / pixels
        others = clicks - scores.clicks
        # where nothing was clicked, as on context images, clicks are not what is missing
        if scores.new and scores.clicks and covered and others * covered < limits.telling_clicks:
            warnings.append(_untold(name, covered, others))
        if scores.new and (covered == 0 or covered > limits.covers):
            warnings.append(f"new class {name!r} covers {covered:.0%} of the {pixels:,} pixels compared")
    return warnings


def _untold(name: str, covered: float, others: int) -> str:
    if not others:
        return (
            f"nothing but new class {name!r} was clicked, so nothing tells whether it appears where it "
            "should not; look at the map, and click mistakes"
        )
    share = f"{100 * covered:.2g}" if covered < 0.1 else f"{100 * covered:.0f}"
    return (
        f"new class {name!r} covers {share} % of the pixels compared: {others} clicks on other classes are "
        "too few to tell whether it appears where it should not; look at the map, and click mistakes"
    )


def _click_warnings(name: str, scores: ClassForgetting, limits: ForgettingLimits) -> list[str]:
    if scores.clicks < limits.fewest_clicks or scores.clicked_accuracy is None:
        return []
    right, before = scores.clicked_accuracy, scores.memory_clicked_accuracy
    sentence = f"class {name!r} is right on {right:.0%} of its {scores.clicks} clicks"
    if before is not None and right < before - limits.worse_on_clicks:
        return [f"{sentence}; the memory network was right on {before:.0%}, so the update made it worse"]
    return [sentence] if right < limits.clicked_accuracy else []


def _check(where: str, totals: Counts, n_classes: int) -> None:
    strange = [value for value in np.flatnonzero(totals) if n_classes <= value < IGNORE]
    if strange:
        raise InvalidParameterError(
            f"{where}: label {strange[0]} is outside the {n_classes} classes 0 to {n_classes - 1}"
        )


def _fraction(part: int | np.integer, whole: int | np.integer) -> float | None:
    return int(part) / int(whole) if whole else None
