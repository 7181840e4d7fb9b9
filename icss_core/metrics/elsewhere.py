"""What an update changed on images that nobody clicked, and whether it did harm there, without ground truth.

The forgetting report of the clicked image cannot see it: there the clicks pull both classes right. On other
images the memory network's map is all there is to compare with. An update changes it in two ways that do
harm: an old class of interest disappears, and the new class is painted over much more of an image than of
those that were clicked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from icss_core.metrics.forgetting import ForgettingReport, Fraction

if TYPE_CHECKING:
    from collections.abc import Mapping


class ElsewhereLimits(BaseModel):
    """Limits beyond which an unclicked image counts as harmed.

    Chosen on 43 pairs of an update by the default preset and an unclicked image of the Dubai set, districts
    t1 and t4, whose truth is known: of the 15 images whose old classes lost more than 5 points of IoU they
    name 9, and 4 of the other 28. An update that is right where the memory network was wrong looks like one
    that does harm; so a verdict says where to look, not what is true.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lost: Fraction = 0.3
    """An old class of interest lost more than this fraction of its pixels, to whatever class."""
    smallest_fraction: Fraction = 0.01
    """Old classes on less than this fraction of an image are too small to judge it by."""
    new_share: Fraction = 0.3
    """The new classes cover more than this fraction of an image ..."""
    new_share_factor: Annotated[float, Field(ge=1)] = 2.0
    """... and more than so many times the fraction that they cover of the clicked images."""


class UnclickedImage(BaseModel):
    """One image that nobody clicked, before and after an update."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    forgetting: ForgettingReport
    new_share: Fraction
    """Of the image that the new classes cover."""
    harm: tuple[str, ...]
    """Plain sentences; empty if nothing looks wrong."""

    @property
    def lost(self) -> Fraction:
        """Of the pixels of old classes of interest; 0 where the memory network saw none."""
        kept = self.forgetting.agreement_of_interest
        return 0.0 if kept is None else 1 - kept


class ElsewhereReport(BaseModel):
    """All unclicked images that an update looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clicked_new_share: Fraction
    """Of the clicked images that the new classes cover."""
    images: tuple[UnclickedImage, ...]
    """The worst first: those with most reasons, then those that lost most of their old classes."""

    @property
    def harmed(self) -> tuple[str, ...]:
        """Names of the images that the update did harm to."""
        return tuple(image.name for image in self.images if image.harm)

    @property
    def warnings(self) -> list[str]:
        """For the annotator: how many images were harmed, and what is wrong on the worst."""
        if not self.harmed:
            return []
        worst = self.images[0]
        number = f"{len(self.harmed)} of {len(self.images)}"
        return [
            f"the update does harm on {number} images that nobody clicked, most of all on {worst.name}: "
            + "; ".join(worst.harm)
        ]


def elsewhere_report(
    clicked: ForgettingReport,
    unclicked: Mapping[str, ForgettingReport],
    *,
    limits: ElsewhereLimits | None = None,
) -> ElsewhereReport:
    """Judge an update by the images that nobody clicked.

    Args:
        clicked: the report of the clicked images.
        unclicked: of each other image, by name.
        limits: see there.
    """
    limits = ElsewhereLimits() if limits is None else limits
    share = _new_share(clicked)
    images = [_judged(name, report, share, limits) for name, report in unclicked.items()]
    images.sort(key=lambda image: (-len(image.harm), -image.lost, image.name))
    return ElsewhereReport(clicked_new_share=share, images=tuple(images))


def _judged(
    name: str, report: ForgettingReport, clicked_share: float, limits: ElsewhereLimits
) -> UnclickedImage:
    harm = []
    for label, one in list(report.classes.items())[1:]:  # without the background, which new classes come from
        if one.new or one.agreement is None:
            continue
        if one.memory_pixels >= limits.smallest_fraction * report.pixels and 1 - one.agreement > limits.lost:
            harm.append(f"{label!r} lost {1 - one.agreement:.0%} of its pixels")
    share = _new_share(report)
    if share > max(limits.new_share, limits.new_share_factor * clicked_share):
        harm.append(f"new classes cover {share:.0%} of it, and {clicked_share:.0%} of what was clicked")
    return UnclickedImage(name=name, forgetting=report, new_share=share, harm=tuple(harm))


def _new_share(report: ForgettingReport) -> float:
    new = sum(one.updated_pixels for one in report.classes.values() if one.new)
    return new / report.pixels if report.pixels else 0.0
