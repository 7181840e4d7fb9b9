"""What the trials of a sweep came to, before it becomes tables and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import BaseModel

from services.tune.trial import AnyTrial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AnyResult = TypeVar("AnyResult", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[AnyTrial, AnyResult]):
    """Results of the trials that are complete, and what has to be said of the others."""

    trials: Sequence[AnyTrial]
    """All of the sweep."""
    results: Mapping[str, Sequence[AnyResult]]
    """By trial id; complete ones alone, so that means are over the same images or tasks."""
    runs: Mapping[str, str]
    """MLflow runs by trial id."""
    notes: Sequence[str]
    """For people, below the table."""

    @property
    def complete(self) -> list[AnyTrial]:
        """Trials that have a result."""
        return [trial for trial in self.trials if trial.trial_id in self.results]
