"""The results of a sweep's trials, from which its table, plot and pictures are made."""

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
    """Results of the complete trials, and notes about the others."""

    trials: Sequence[AnyTrial]
    """All trials of the sweep."""
    results: Mapping[str, Sequence[AnyResult]]
    """By trial id, of complete trials only: so all means are over the same images or tasks."""
    runs: Mapping[str, str]
    """MLflow runs by trial id."""
    notes: Sequence[str]
    """Sentences for people, below the table."""

    @property
    def complete(self) -> list[AnyTrial]:
        """Trials that have a result."""
        return [trial for trial in self.trials if trial.trial_id in self.results]
