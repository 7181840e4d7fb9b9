"""A mean over seeds with its deviation."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean and standard deviation over seeds; IoU are fractions here."""

    mean: float
    deviation: float | None
    """Of a sample (n - 1); None if there is one seed only."""

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """The spread of at least one value."""
        listed = list(values)
        deviation = statistics.stdev(listed) if len(listed) > 1 else None
        return cls(mean=statistics.mean(listed), deviation=deviation)

    @classmethod
    def of_some(cls, values: Iterable[float | None]) -> Self | None:
        """The spread of the values that are not None; None if all are."""
        there = [value for value in values if value is not None]
        return cls.of(there) if there else None

    def percent(self) -> str:
        """For people, in per cent: `52.5 ± 10.6`."""
        spread = "" if self.deviation is None else f" ± {100 * self.deviation:.1f}"
        return f"{100 * self.mean:.1f}{spread}"


def percent(spread: Spread | None) -> str:
    """The same; a dash for None."""
    return "-" if spread is None else spread.percent()
