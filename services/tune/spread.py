"""A number with its spread over seeds."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean and deviation, as fractions."""

    mean: float
    deviation: float | None
    """Of the sample; None with one seed."""

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Over at least one value."""
        listed = list(values)
        deviation = statistics.stdev(listed) if len(listed) > 1 else None
        return cls(mean=statistics.mean(listed), deviation=deviation)

    @classmethod
    def of_some(cls, values: Iterable[float | None]) -> Self | None:
        """Over the values that are there; None without any."""
        there = [value for value in values if value is not None]
        return cls.of(there) if there else None

    def percent(self) -> str:
        """In points of per cent."""
        spread = "" if self.deviation is None else f" ± {100 * self.deviation:.1f}"
        return f"{100 * self.mean:.1f}{spread}"


def percent(spread: Spread | None) -> str:
    """In points of per cent; a dash for none."""
    return "-" if spread is None else spread.percent()
