"""One run for each thing asked for, however many processes ask for it at once."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Final

from services.errors import TrackingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from services.tracking import Experiment, RunRecord, Tracking

_logger = logging.getLogger(__name__)

CANDIDATE_SECONDS: Final = 30.0
"""After so long a run that is not confirmed is abandoned: its creator died before it could."""

_CANDIDATE: Final = "icss.candidate"  # tag of runs made here
_VERDICT: Final = "icss.run"  # their param
_CONFIRMED: Final = "confirmed"
_ABANDONED: Final = "abandoned"


def find_or_create(
    tracking: Tracking,
    experiment: Experiment,
    *,
    identity: Mapping[str, str],
    name: str,
    tags: Mapping[str, str] | None = None,
    fill: Callable[[str], None] | None = None,
    counts: Callable[[RunRecord], bool] = lambda _: True,
    patience: float = CANDIDATE_SECONDS,
) -> str:
    """The one run with this identity, created if there is none; returns its id.

    A new run is a candidate until it is confirmed. Whoever creates one looks for others afterwards: two that
    are created at once see each other, or the later sees the earlier, and who sees another gives its own up
    and looks again after a random pause.

    Args:
        tracking: the MLflow server.
        experiment: where the run is.
        identity: tags that no other run may have together.
        name: of a new run.
        tags: further ones of a new run.
        fill: writes what has to be in a new run, given its id, before anybody else finds it.
        counts: which runs with the identity count as the one; by default all.
        patience: seconds after which another's candidate is abandoned, by this process's own clock.

    Raises:
        TrackingError: the server refused or did not answer.
    """
    first_seen: dict[str, float] = {}
    pause = 0.1
    while True:
        confirmed = _look(tracking, experiment, identity, counts, first_seen, patience)
        if confirmed is not None:
            return confirmed
        if not first_seen:
            own = tracking.create_run(
                experiment, name=name, tags={**(tags or {}), **identity, _CANDIDATE: "yes"}
            )
            if _confirm(tracking, experiment, identity, counts, own, fill):
                return own
        time.sleep(random.uniform(0.2, 1.0) * pause)  # noqa: S311 - only to come apart
        pause = min(2 * pause, 2.0)


def _look(
    tracking: Tracking,
    experiment: Experiment,
    identity: Mapping[str, str],
    counts: Callable[[RunRecord], bool],
    first_seen: dict[str, float],
    patience: float,
) -> str | None:
    """The confirmed run if there is one; notes the others' candidates in `first_seen` and ends dead ones."""
    records = [one for one in tracking.find(experiment, tags=identity) if counts(one)]
    confirmed = [one.run_id for one in records if _is_confirmed(one)]
    if confirmed:
        return confirmed[-1]  # of runs from before there was this scheme, the newest
    now = time.monotonic()
    for run_id in first_seen.keys() - {one.run_id for one in records}:
        del first_seen[run_id]
    for one in records:
        if now - first_seen.setdefault(one.run_id, now) < patience:
            continue
        # its creator may be alive and slow: what was written first, this or the confirmation, is what counts
        if tracking.write_once(one.run_id, _VERDICT, _ABANDONED) == _CONFIRMED:
            return one.run_id
        _delete(tracking, one.run_id)
        del first_seen[one.run_id]
    return None


def _confirm(
    tracking: Tracking,
    experiment: Experiment,
    identity: Mapping[str, str],
    counts: Callable[[RunRecord], bool],
    own: str,
    fill: Callable[[str], None] | None,
) -> bool:
    """Whether a run of ours is the one; it is deleted otherwise."""
    try:
        records = tracking.find(experiment, tags=identity)
        if not any(counts(one) for one in records if one.run_id != own):
            if fill is not None:
                fill(own)
            if tracking.write_once(own, _VERDICT, _CONFIRMED) == _CONFIRMED:
                return True
    except BaseException:
        _delete(tracking, own)
        raise
    _delete(tracking, own)
    return False


def _delete(tracking: Tracking, run_id: str) -> None:
    try:
        tracking.delete_run(run_id)
    except TrackingError as error:  # deleted by another, or left to whoever finds it abandoned
        _logger.warning("candidate %s: %s", run_id, error)


def _is_confirmed(record: RunRecord) -> bool:
    return _CANDIDATE not in record.tags or record.params.get(_VERDICT) == _CONFIRMED
