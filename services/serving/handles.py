"""The ports over Serve handles: calls to other replicas that look, and fail, like calls to the object.

A replica gives a refusal back as a value (`refusals_returned`) and the caller raises it again: an exception
that leaves a replica is a failure to Serve, which logs its whole traceback, and a request that cannot be
carried out is none.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, RayServeException

from icss_core.errors import IcssError
from services.errors import BusyError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ray.serve.handle import DeploymentHandle

    from services.serving.orders import UpdateOrder
    from services.serving.predictor import PredictionJob, PredictionOutcome
    from services.serving.update_control import LiveProgress

_log = logging.getLogger("ray.serve")

P = ParamSpec("P")
T = TypeVar("T")


class UpdaterHandle:
    """`ports.Updater` over the deployment of that name."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle

    async def submit(self, order: UpdateOrder, key: str | None) -> str:
        """See `UpdateQueue.submit`."""
        update_id: str = await _call(self._handle.submit, order, key)
        return update_id

    async def cancel(self, update_id: str) -> None:
        """See `UpdateQueue.cancel`."""
        await _call(self._handle.cancel, update_id)

    async def progress(self, update_id: str) -> LiveProgress | None:
        """See `UpdateQueue.progress`."""
        progress: LiveProgress | None = await _call(self._handle.progress, update_id)
        return progress

    async def ready(self) -> bool:
        """Whether the replica is up and its worker thread runs."""
        return bool(await _call(self._handle.ready))


class PredictorHandle:
    """`ports.Predictor` over the deployment of that name."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle

    async def predict(self, job: PredictionJob) -> PredictionOutcome:
        """See `PredictionService.predict`."""
        outcome: PredictionOutcome = await _call(self._handle.predict, job)
        return outcome

    async def verify(self, name: str, version: int) -> None:
        """See `ModelCache.get`."""
        await _call(self._handle.verify, name, version)

    async def ready(self) -> bool:
        """Whether a replica is up."""
        return bool(await _call(self._handle.ready))


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of ours on its way from a replica to the caller."""

    error: IcssError


def refusals_returned(
    method: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T | Refusal]]:
    """A replica's method that gives back what it refuses, noted in one line; other errors are raised."""

    @functools.wraps(method)
    async def answered(*arguments: P.args, **named: P.kwargs) -> T | Refusal:
        try:
            return await method(*arguments, **named)
        except IcssError as error:
            _log.info("%s: %s: %s", method.__qualname__, type(error).__name__, " ".join(str(error).split()))
            return Refusal(error)

    return answered


async def _call(method: Any, *arguments: Any) -> Any:
    """Call a replica; an error of ours comes back as itself, and one of Ray's as one of ours.

    Raises:
        IcssError: what the replica refused.
        BusyError: it has too many requests.
        UnavailableError: it is down.
    """
    try:
        answer = await method.remote(*arguments)
    except BackPressureError as error:
        raise BusyError("too many requests at once; try again in a moment") from error
    except (RayActorError, RayServeException) as error:
        raise UnavailableError("a part of the service is restarting; try again in a moment") from error
    if isinstance(answer, Refusal):
        raise answer.error
    return answer
