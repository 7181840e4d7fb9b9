"""The one number that a challenge ranks by: mean IoU of groups of classes, weighted and added up."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from icss_core.continual.members import Member, named_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ScoreGroup(BaseModel):
    """Classes whose mean IoU is a part of a score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: Annotated[float, Field(gt=0, le=1)]
    classes: Annotated[tuple[Member, ...], Field(min_length=1)]
    """As in a protocol's groups; the background is no member."""


class WeightedScore(BaseModel):
    """A score that a protocol states beside the means that every protocol has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    groups: Annotated[tuple[ScoreGroup, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_a_mean(self) -> Self:
        total = sum(group.weight for group in self.groups)
        if not math.isclose(total, 1, abs_tol=1e-6):
            raise ValueError(f"the weights of score {self.name!r} add up to {total:g}, not to 1")
        return self

    @property
    def key(self) -> str:
        """Name of the metric and of the column, which no other number has."""
        return f"score_{self.name}"

    @property
    def members(self) -> tuple[Member, ...]:
        """Of all groups."""
        return tuple(member for group in self.groups for member in group.classes)

    def on(self, names: Sequence[str]) -> WeightedScore:
        """The same with every class by its name.

        Args:
            names: of all classes of a data set, the background first.

        Raises:
            InvalidParameterError: a number is no class of interest.
        """
        groups = [
            group.model_copy(update={"classes": named_by(group.classes, names)}) for group in self.groups
        ]
        return self.model_copy(update={"groups": tuple(groups)})

    def of(self, iou: Mapping[str, float | None]) -> float | None:
        """The score.

        A class that the truth lacks counts 0 here, as in the code of the challenge whose score this is
        (OpenEarthMap few-shot, `src/test.py` of cliffbb/OEM-Fewshot-Challenge); all other means leave it out.

        Args:
            iou: by class name, in [0, 1]; None where the truth lacks the class.

        Returns:
            In [0, 1]; None as long as a class is not learnt, and where the truth has none of the classes.
        """
        if not all(name in iou for name in self.members):
            return None
        if all(iou[str(name)] is None for name in self.members):
            return None
        return sum(
            group.weight * statistics.fmean(iou[str(name)] or 0.0 for name in group.classes)
            for group in self.groups
        )

    def __str__(self) -> str:
        """What it is made of, for people."""
        parts = (f"{group.weight:g} x mean of {', '.join(map(str, group.classes))}" for group in self.groups)
        return f"{self.key} = {' + '.join(parts)}"
