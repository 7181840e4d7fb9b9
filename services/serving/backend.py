"""Everything behind the routes: what an endpoint does, without HTTP.

Blocking parts (registry, store, MLflow, opening images) run in threads; computing parts are behind `ports`.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from services.errors import ConflictError, UnavailableError
from services.registry import Registry
from services.serving.admission import Admission
from services.serving.catalogue import Catalogue
from services.serving.images import Images
from services.serving.orders import fingerprint_of
from services.serving.predictor import PredictionJob
from services.serving.readiness import PATIENCE, BlockingQuestions, Readiness
from services.serving.region_maps import RegionMaps
from services.serving.responses import Health, Link, UpdateStatus
from services.serving.update_records import UpdateRecords
from services.storage import Storage
from services.tracking import Tracking

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from services.serving.addresses import ImageReference
    from services.serving.ports import Predictor, Updater
    from services.serving.predictor import PredictionOutcome
    from services.serving.requests import MapsRequest, PredictionOptions, UpdateRequest
    from services.serving.responses import AliasDetail, MapsStatus, ModelDetail, ModelSummary, Upload
    from services.serving.update_control import LiveProgress
    from services.settings import Settings

_T = TypeVar("_T")

PROGRESS_SECONDS = 2.0
"""How long the record of an update waits for its live progress."""
UPDATER_SECONDS = 20.0
"""How long a request waits for the updater to write something down. It is more patient with MLflow itself."""


class Backend:
    """The service without HTTP. One per API process; every method may run many times at once."""

    def __init__(self, settings: Settings, *, updater: Updater, predictor: Predictor) -> None:
        storage = Storage(settings, timeout=settings.s3_timeout, attempts=2)
        registry = Registry(settings)
        self._registry = registry
        self._images = Images(settings, storage)
        self._admission = Admission(registry, self._images, settings.limits)
        tracking = Tracking(settings)
        self._catalogue = Catalogue(registry, tracking)
        self._maps = RegionMaps(settings, registry, storage, tracking)
        self._records = UpdateRecords(tracking, lease_seconds=settings.lease_seconds)
        self._updater = updater
        self._predictor = predictor
        in_thread = BlockingQuestions(threads=2)
        probe = Storage(settings, timeout=PATIENCE, attempts=1)
        self._readiness = Readiness(
            {
                "updater": lambda: asyncio.wait_for(updater.ready(), PATIENCE),
                "predictor": lambda: asyncio.wait_for(predictor.ready(), PATIENCE),
                "mlflow": in_thread(tracking.answers),
                "object_store": in_thread(probe.answers),
            }
        )

    async def models(self) -> list[ModelSummary]:
        """All models."""
        return await asyncio.to_thread(self._catalogue.models)

    async def model(self, name: str) -> ModelDetail:
        """One model; see `Catalogue.model`."""
        return await asyncio.to_thread(self._catalogue.model, name)

    async def move_memory(self, name: str, version: int, *, expected: int | None) -> AliasDetail:
        """Let `memory` point to a version, once that version has been seen to load.

        Raises:
            ModelNotFoundError, VersionNotFoundError, ModelFormatError: it does not; the alias stays.
            ConflictError: `memory` is not the version that the caller expects.
        """
        # whether there is such a version: where MLflow is away, that is said here and soon
        await asyncio.to_thread(self._registry.resolve, name, version)
        await self._predictor.verify(name, version)
        return await asyncio.to_thread(self._catalogue.move_memory, name, version, expected=expected)

    async def start_update(self, model: str, request: UpdateRequest, key: str | None) -> UpdateStatus:
        """Check, write down and queue a request; see `Admission.admit` and `UpdateQueue.submit`.

        A request that came before is recognised before it is checked: what it asked for may be impossible by
        now just because it was done.
        """
        update_id = await asyncio.to_thread(self._records.repeated, key, fingerprint_of(model, request))
        if update_id is None:
            order = await asyncio.to_thread(self._admission.admit, model, request)
            update_id = await _soon(self._updater.submit(order, key))
        return await self.update(update_id)

    async def update(self, update_id: str) -> UpdateStatus:
        """The state of an update: its record, and the live progress of one that has not ended.

        Raises:
            UpdateNotFoundError: no update has this id.
        """
        status = await asyncio.to_thread(self._records.status, update_id)
        if not status.is_finished:
            live = await self._progress(update_id)
            status = status if live is None else _with_progress(status, live)
        return _with_links(status)

    async def updates(self, *, model: str | None, limit: int) -> list[UpdateStatus]:
        """The recorded states of updates, newest first."""
        statuses = await asyncio.to_thread(self._records.statuses, model=model, limit=limit)
        return [_with_links(status) for status in statuses]

    async def cancel_update(self, update_id: str) -> UpdateStatus:
        """Cancel an update; cancelling one twice is no error.

        Raises:
            UpdateNotFoundError: no update has this id.
            ConflictError: it has ended already, or is being registered.
        """
        before = await asyncio.to_thread(self._records.status, update_id)
        if before.is_finished and before.status != "dismissed":
            raise ConflictError(f"update {update_id} has ended: {before.status}; nothing is left to cancel")
        if not before.is_finished:
            await _soon(self._updater.cancel(update_id))
        return await self.update(update_id)

    async def upload(self, file: Path) -> Upload:
        """Check an image and keep it; see `Images.keep`."""
        return await asyncio.to_thread(self._images.keep, file)

    async def predict(
        self, options: PredictionOptions, image: ImageReference | tuple[str, bytes]
    ) -> PredictionOutcome:
        """Predict an image from the store, or one given as (name, bytes); see `PredictionService.predict`."""
        version = await asyncio.to_thread(self._registry.resolve, options.model, options.version)
        in_request = isinstance(image, tuple)
        address, content = (
            image
            if isinstance(image, tuple)
            else (await asyncio.to_thread(self._images.address, image), None)
        )
        delivery = options.delivery or ("inline" if in_request else "s3")
        job = PredictionJob(
            id=uuid.uuid4().hex,
            model=options.model,
            version=version.version,
            image=address,
            content=content,
            bands=options.bands,
            format=options.format,
            confidence=options.confidence,
            min_area=options.min_area,
            tiling=options.tiling,
            scales=options.scales,
            inline=delivery == "inline",
        )
        return await self._predictor.predict(job)

    async def start_maps(self, request: MapsRequest) -> MapsStatus:
        """Check, write down and submit a mapping job; see `RegionMaps.start`."""
        return await asyncio.to_thread(self._maps.start, request)

    async def maps(self, run_id: str) -> MapsStatus:
        """The state of a mapping job; see `RegionMaps.status`."""
        return await asyncio.to_thread(self._maps.status, run_id)

    async def all_maps(self, *, model: str | None, limit: int) -> list[MapsStatus]:
        """The states of mapping jobs, newest first."""
        return await asyncio.to_thread(self._maps.statuses, model=model, limit=limit)

    async def cancel_maps(self, run_id: str) -> MapsStatus:
        """Stop a mapping job; see `RegionMaps.cancel`."""
        return await asyncio.to_thread(self._maps.cancel, run_id)

    async def health(self) -> Health:
        """Whether the parts that compute answer, and MLflow and the object store; see `Readiness`."""
        parts = await self._readiness.ask()
        return Health(status="ok" if all(parts.values()) else "not ready", parts=parts)

    async def _progress(self, update_id: str) -> LiveProgress | None:
        """Live progress, or None while the updater restarts: the record alone still is a true answer."""
        try:
            return await asyncio.wait_for(self._updater.progress(update_id), PROGRESS_SECONDS)
        except (TimeoutError, UnavailableError):
            return None


async def _soon(call: Coroutine[Any, Any, _T]) -> _T:
    """Wait for a call of the updater that may be made again.

    Raises:
        UnavailableError: it takes too long; it may still be carried out.
    """
    try:
        return await asyncio.wait_for(call, UPDATER_SECONDS)
    except TimeoutError as error:
        raise UnavailableError(
            "the updater waits for MLflow; send the same request again in a moment, it is carried out once"
        ) from error


def _with_progress(status: UpdateStatus, live: LiveProgress) -> UpdateStatus:
    if live.cancelling:
        message = "stopping"
    elif not live.running:
        message = f"waiting for its turn, {live.ahead} before it"
    elif live.step is None:
        message = live.stage or status.message
    else:
        message = f"{live.stage}: step {live.step} of {live.steps}"
    return status.model_copy(
        update={
            **live.model_dump(include={"stage", "step", "steps", "loss", "seconds_left"}),
            "message": message,
            "progress": live.percent,
        }
    )


def _with_links(status: UpdateStatus) -> UpdateStatus:
    links = [Link(href=f"/v1/updates/{status.id}", rel="self")]
    if status.result_version is not None:
        links.append(
            Link(href=f"/v1/models/{status.model}", rel="http://www.opengis.net/def/rel/ogc/1.0/results")
        )
    return status.model_copy(update={"links": links})
