"""The ports over Serve handles: calls to other replicas that look, and fail, like calls to the object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException

from icss_core.errors import IcssError
from services.errors import BusyError, UnavailableError

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

    from services.serving.orders import UpdateOrder
    from services.serving.predictor import PredictionJob, PredictionOutcome
    from services.serving.update_control import LiveProgress


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


async def _call(method: Any, *arguments: Any) -> Any:
    """Call a replica; an error of ours comes back as itself, and one of Ray's as one of ours.

    Raises:
        IcssError: what the replica raised.
        BusyError: it has too many requests.
        UnavailableError: it is down.
    """
    try:
        return await method.remote(*arguments)
    except RayTaskError as error:
        if isinstance(error.cause, IcssError):
            raise error.cause from None
        raise
    except BackPressureError as error:
        raise BusyError("too many requests at once; try again in a moment") from error
    except (RayActorError, RayServeException) as error:
        raise UnavailableError("a part of the service is restarting; try again in a moment") from error
