"""The kinds of sweeps there are: sessions, and protocols."""

from __future__ import annotations

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
from services.tune.sweep_kind import SweepKind

if TYPE_CHECKING:
    from collections.abc import Mapping

_SESSIONS: Final[SweepKind[SessionSweep, SessionTrial, SessionScores]] = SweepKind(
    spec=SessionSweep,
    trial=SessionTrial,
    result=SessionScores,
    unit="images",
    plan=plan_sessions,
    run=run_session_trial,
    means=means_of,
    write_answer=write_session_answer,
)
_PROTOCOLS: Final[SweepKind[ProtocolSweep, ProtocolTrial, TaskHistory]] = SweepKind(
    spec=ProtocolSweep,
    trial=ProtocolTrial,
    result=TaskHistory,
    unit="tasks",
    plan=plan_protocols,
    run=run_protocol_trial,
    means=means_of_history,
    write_answer=write_protocol_answer,
)

# each is checked above; which one a file asks for is only known when it is read
SWEEP_KINDS: Final[Mapping[str, SweepKind[Any, Any, Any]]] = {"icss": _SESSIONS, "steps": _PROTOCOLS}
"""By the word after `protocol:` in the file."""
