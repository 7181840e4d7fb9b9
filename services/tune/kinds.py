"""The kinds of sweeps there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from icss_core.continual import TaskHistory
from icss_core.evaluation import CarriedScore, SessionScores
from services.tune.carry_over.means import means_of_scores
from services.tune.carry_over.plan import plan_carry_over
from services.tune.carry_over.plot import plot_rows as plot_carry_over
from services.tune.carry_over.row import CarryOverRow
from services.tune.carry_over.row import rows_of as rows_of_carried
from services.tune.carry_over.run import run_carry_over_trial
from services.tune.carry_over.spec import CarryOverSweep
from services.tune.carry_over.table import CARRY_OVER_TABLE
from services.tune.carry_over.trial import CarryOverTrial
from services.tune.continual.means import means_of_history
from services.tune.continual.plan import plan_continual
from services.tune.continual.plot import plot_rows as plot_continual
from services.tune.continual.run import protocol_run_of, run_continual_trial
from services.tune.continual.spec import ContinualSweep
from services.tune.continual.table import CONTINUAL_TABLE, ContinualRow
from services.tune.continual.table import rows_of as rows_of_histories
from services.tune.continual.trial import ContinualTrial
from services.tune.interactive.means import means_of
from services.tune.interactive.plan import plan_interactive
from services.tune.interactive.plot import plot_rows as plot_interactive
from services.tune.interactive.run import run_interactive_trial
from services.tune.interactive.spec import InteractiveSweep
from services.tune.interactive.table import INTERACTIVE_TABLE, InteractiveRow
from services.tune.interactive.table import rows_of as rows_of_sessions
from services.tune.interactive.trial import InteractiveTrial
from services.tune.sweep_kind import SweepKind

if TYPE_CHECKING:
    from collections.abc import Mapping

_INTERACTIVE: Final[SweepKind[InteractiveSweep, InteractiveTrial, SessionScores, InteractiveRow]] = SweepKind(
    spec=InteractiveSweep,
    trial=InteractiveTrial,
    result=SessionScores,
    unit="images",
    plan=plan_interactive,
    run=run_interactive_trial,
    means=means_of,
    rows=rows_of_sessions,
    table=INTERACTIVE_TABLE,
    plot=plot_interactive,
    run_of_maps=lambda _, trial_run: trial_run,
)
_CONTINUAL: Final[SweepKind[ContinualSweep, ContinualTrial, TaskHistory, ContinualRow]] = SweepKind(
    spec=ContinualSweep,
    trial=ContinualTrial,
    result=TaskHistory,
    unit="tasks",
    plan=plan_continual,
    run=run_continual_trial,
    means=means_of_history,
    rows=rows_of_histories,
    table=CONTINUAL_TABLE,
    plot=plot_continual,
    run_of_maps=protocol_run_of,
)

_CARRY_OVER: Final[SweepKind[CarryOverSweep, CarryOverTrial, CarriedScore, CarryOverRow]] = SweepKind(
    spec=CarryOverSweep,
    trial=CarryOverTrial,
    result=CarriedScore,
    unit="images",
    plan=plan_carry_over,
    run=run_carry_over_trial,
    means=means_of_scores,
    rows=rows_of_carried,
    table=CARRY_OVER_TABLE,
    plot=plot_carry_over,
    run_of_maps=lambda _, trial_run: trial_run,
)

# types are checked above; here they are lost, since only the file says which kind it is
SWEEP_KINDS: Final[Mapping[str, SweepKind[Any, Any, Any, Any]]] = {
    "interactive": _INTERACTIVE,
    "carry-over": _CARRY_OVER,
    "continual": _CONTINUAL,
}
"""By the word after `kind:` in the file."""
