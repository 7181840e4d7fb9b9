"""What a kind of sweep is made of: from the file that asks, over its trials, to the answer."""

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
    """Told after each image, or task, how many are done and the means so far; may end a trial by raising."""

Spec_contra = TypeVar("Spec_contra", bound=SweepSpec, contravariant=True)
Trial_contra = TypeVar("Trial_contra", bound=Trial, contravariant=True)
Trial_co = TypeVar("Trial_co", bound=Trial, covariant=True)


class Plan(Protocol[Spec_contra, Trial_co]):
    """All trials of a sweep, their data checked."""

    def __call__(
        self, spec: Spec_contra, datasets: Mapping[str, str], settings: Settings, /
    ) -> Sequence[Trial_co]:
        """Data sets are addresses by name."""


class RunTrial(Protocol[Trial_contra]):
    """Does what is left of a trial that is owned, and writes results as they come."""

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
        """Raises LostOwnershipError where another process has taken over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepKind(Generic[AnySpec, AnyTrial, AnyResult, AnyRow]):
    """One kind of sweep."""

    spec: type[AnySpec]
    trial: type[AnyTrial]
    result: type[AnyResult]
    """A trial's results are a list of these."""
    unit: str
    """What a trial does one after another, in the plural."""
    plan: Plan[AnySpec, AnyTrial]
    run: RunTrial[AnyTrial]
    means: Callable[[Sequence[AnyResult]], Mapping[str, float]]
    """Of a trial's results so far; `mean_iou` among them."""
    rows: Callable[[Sequence[AnyTrial], Mapping[str, Sequence[AnyResult]]], Sequence[AnyRow]]
    """From trials and their results by trial id to the rows of the table."""
    table: TableLayout[AnyRow]
    plot: Callable[[Sequence[AnyRow], Plot | None], bytes | None]
    """A PNG, from at least one row and the plot that the file asks for; None: there is none."""
    run_of_maps: Callable[[Tracking, str], str]
    """The MLflow run that keeps the class maps of a trial, from the trial's own."""

    def gather(
        self, records: SweepRecords, trials: Sequence[AnyTrial], runs: Mapping[str, str]
    ) -> Answer[AnyTrial, AnyResult]:
        """Read what all trials of a sweep have written.

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
