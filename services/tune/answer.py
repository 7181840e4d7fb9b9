"""What the trials of a sweep found, before it becomes tables and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.tune.kinds import Kind
    from services.tune.records import SweepRecords
    from services.tune.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Results of the trials that are complete, and what has to be said of the others."""

    trials: tuple[Any, ...]
    """All of the sweep, of its kind."""
    results: dict[str, list[Any]]
    """By trial id; complete ones alone, so that means are over the same images or steps."""
    runs: dict[str, str]
    """MLflow runs by trial id."""
    notes: tuple[str, ...]
    """For people, below the table."""

    @property
    def complete(self) -> list[Any]:
        """Trials that have a result."""
        return [trial for trial in self.trials if trial.trial_id in self.results]


def gather(records: SweepRecords, kind: Kind, trials: Sequence[Trial], runs: Mapping[str, str]) -> Answer:
    """Read what all trials of a sweep have written.

    Raises:
        TrackingError: the server refused or did not answer.
    """
    results: dict[str, list[Any]] = {}
    revisions: set[str] = set()
    lacking = []
    for trial in trials:
        run_id = runs[trial.trial_id]
        found, status = records.read(run_id, kind.result), records.status(run_id)
        revisions.update(records.revisions(run_id))
        if status == "successful":
            results[trial.trial_id] = found
        else:
            done = f"{records.done_of(run_id)} {kind.unit}"
            mean = f", mean IoU {100 * kind.means(found)['mean_iou']:.1f}" if found else ""
            lacking.append(f"{trial.title} ({status or 'not begun'} after {done}{mean})")
    notes = [f"Code: {', '.join(sorted(revisions))}."]
    notes += [f"Without a full result: {'; '.join(lacking)}."] if lacking else []
    return Answer(trials=tuple(trials), results=results, runs=dict(runs), notes=tuple(notes))
