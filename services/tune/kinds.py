"""What may be tried by a sweep: sessions, or protocols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from icss_core.continual import TaskHistory
from icss_core.evaluation import SessionScores
from services.tune.continual.answer import write_protocol_answer
from services.tune.continual.means import means_of_history
from services.tune.continual.plan import plan_protocols
from services.tune.continual.run import run_protocol_trial
from services.tune.continual.spec import ProtocolSweep
from services.tune.continual.trial import ProtocolTrial
from services.tune.interactive.answer import write_session_answer
from services.tune.interactive.means import means_of
from services.tune.interactive.plan import plan_sessions
from services.tune.interactive.run import run_session_trial
from services.tune.interactive.spec import SessionSweep
from services.tune.interactive.trial import SessionTrial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import BaseModel

    from services.tune.spec import SweepSpec
    from services.tune.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of trial, from the file that asks to the answer."""

    spec: type[SweepSpec]
    trial: type[Trial]
    result: type[BaseModel]
    """A trial's results are a list of these."""
    unit: str
    """What a trial does one after another, in the plural."""
    plan: Callable[..., list[Any]]
    """(spec, addresses of data sets, settings): all trials, their data checked."""
    run: Callable[..., object]
    """(trial, run, records, settings=, on_result=): what is left of a trial."""
    means: Callable[[list[Any]], Mapping[str, float]]
    """Of a trial's results so far; `mean_iou` among them."""
    write_answer: Callable[..., object]
    """(tracking, parent run, spec, answer, settings): table, plot and pictures of a sweep."""


KINDS: Final[Mapping[str, Kind]] = {
    "icss": Kind(
        spec=SessionSweep,
        trial=SessionTrial,
        result=SessionScores,
        unit="images",
        plan=plan_sessions,
        run=run_session_trial,
        means=means_of,
        write_answer=write_session_answer,
    ),
    "steps": Kind(
        spec=ProtocolSweep,
        trial=ProtocolTrial,
        result=TaskHistory,
        unit="steps",
        plan=plan_protocols,
        run=run_protocol_trial,
        means=means_of_history,
        write_answer=write_protocol_answer,
    ),
}
"""By the word after `protocol:` in the file."""
