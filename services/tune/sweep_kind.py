"""What makes a kind of sweep: its file, its trials, and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from services.tune.answer import Answer, AnyResult
from services.tune.spec import AnySpec, Plot, SweepSpec
from services.tune.table import AnyRow, TableLayout
from services.tune.trial import AnyTrial, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from services.ownership import Work
    from services.settings import Settings
    from services.tracking import Tracking
    from services.tune.records import SweepRecords

    OnResult = Callable[[int, dict[str, float]], None]
    """Called after each image or task with how many are done and the means so far; raises to end a trial."""

Spec_contra = TypeVar("Spec_contra", bound=SweepSpec, contravariant=True)
Trial_contra = TypeVar("Trial_contra", bound=Trial, contravariant=True)
Trial_co = TypeVar("Trial_co", bound=Trial, covariant=True)


class Plan(Protocol[Spec_contra, Trial_co]):
    """Checks the data of a sweep and makes its trials."""

    def __call__(
        self, spec: Spec_contra, datasets: Mapping[str, str], settings: Settings, /
    ) -> Sequence[Trial_co]:
        """All trials; `datasets` are addresses by name."""


class RunTrial(Protocol[Trial_contra]):
    """Does what is left of a trial, and writes each result when it is there."""

    def __call__(
        self,
        trial: Trial_contra,
        work: Work,
        records: SweepRecords,
        /,
        *,
        settings: Settings,
        on_result: OnResult,
    ) -> object:
        """Raises LostOwnershipError if another process has taken the trial over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepKind(Generic[AnySpec, AnyTrial, AnyResult, AnyRow]):
    """The parts of one kind of sweep."""

    spec: type[AnySpec]
    trial: type[AnyTrial]
    result: type[AnyResult]
    """Type of one result; a trial has a list of them."""
    unit: str
    """What a trial does one after another, in the plural: images or tasks."""
    plan: Plan[AnySpec, AnyTrial]
    run: RunTrial[AnyTrial]
    means: Callable[[Sequence[AnyResult]], Mapping[str, float]]
    """Means of a trial's results so far, for logs and the scheduler; `mean_iou` is among them."""
    rows: Callable[[Sequence[AnyTrial], Mapping[str, Sequence[AnyResult]]], Sequence[AnyRow]]
    """The rows of the table, from trials and their results by trial id."""
    table: TableLayout[AnyRow]
    plot: Callable[[Sequence[AnyRow], Plot | None], bytes | None]
    """The plot as PNG, from the rows and what the file says of it; None: the answer has no plot."""
    run_of_maps: Callable[[Tracking, str], str]
    """Id of the MLflow run that keeps the class maps of a trial, from the id of the trial's own run."""

    def gather(
        self, records: SweepRecords, trials: Sequence[AnyTrial], runs: Mapping[str, str]
    ) -> Answer[AnyTrial, AnyResult]:
        """Collect what the trials of a sweep have written.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        results: dict[str, Sequence[AnyResult]] = {}
        revisions: set[str] = set()
        lacking = []
        for trial in trials:
            run_id = runs[trial.trial_id]
            written, status = records.read(run_id, self.result), records.status(run_id)
            revisions.update(records.revisions(run_id))
            if status == "successful":
                results[trial.trial_id] = written
            else:
                done = f"{records.done_of(run_id)} {self.unit}"
                mean = f", mean IoU {100 * self.means(written)['mean_iou']:.1f}" if written else ""
                lacking.append(f"{trial.title} ({status or 'not begun'} after {done}{mean})")
        notes = [f"Code: {', '.join(sorted(revisions))}."]
        notes += [f"Without a full result: {'; '.join(lacking)}."] if lacking else []
        return Answer(trials=trials, results=results, runs=runs, notes=notes)
