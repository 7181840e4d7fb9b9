"""How often an update was begun without getting further than before, as its MLflow run's tags keep it.

An update keeps no checkpoint: each attempt starts over. One that gets further than all attempts before it
does not kill its process at the same point again and again, so the count starts anew after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_ATTEMPTS: Final = "icss.attempts"
_REACHED: Final = "icss.reached"  # by the furthest attempt
_REACHED_BEFORE: Final = "icss.reached_before"  # the present attempt began


def begun(tags: Mapping[str, str]) -> tuple[int, dict[str, str]]:
    """The number of the attempt that begins now, counted since one got further; and tags that say so."""
    reached = tags.get(_REACHED, "0")
    moved = float(reached) > float(tags.get(_REACHED_BEFORE, 0))
    attempt = 1 + (1 if moved else int(tags.get(_ATTEMPTS, 0)))
    return attempt, {_ATTEMPTS: str(attempt), _REACHED_BEFORE: reached}


def reached(tags: Mapping[str, str], now: float) -> dict[str, str]:
    """Tags that say how far an update is (`UpdateControl.reached`); none if it was further before."""
    return {_REACHED: str(now)} if now > float(tags.get(_REACHED, 0)) else {}


def interrupted(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags that take the present attempt back, as it was stopped in good order."""
    attempts = max(int(tags.get(_ATTEMPTS, 1)) - 1, 0)
    return {_ATTEMPTS: str(attempts), _REACHED_BEFORE: tags.get(_REACHED, "0")}
