"""What the API needs of the parts that compute: Serve handles in production, the objects in tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from services.serving.orders import UpdateOrder
    from services.serving.predictor import PredictionJob, PredictionOutcome
    from services.serving.update_control import LiveProgress


class Updater(Protocol):
    """The one process that carries out updates."""

    async def submit(self, order: UpdateOrder, key: str | None) -> str:
        """See `UpdateQueue.submit`."""

    async def cancel(self, update_id: str) -> None:
        """See `UpdateQueue.cancel`."""

    async def progress(self, update_id: str) -> LiveProgress | None:
        """See `UpdateQueue.progress`."""

    async def ready(self) -> bool:
        """Whether it takes updates; True or a raised error."""


class Predictor(Protocol):
    """A process that predicts images."""

    async def predict(self, job: PredictionJob) -> PredictionOutcome:
        """See `PredictionService.predict`."""

    async def verify(self, name: str, version: int) -> None:
        """See `ModelCache.get`: raises where the version does not load."""

    async def ready(self) -> bool:
        """Whether it takes jobs; True or a raised error."""
