"""`/v1/models/{name}/updates` and `/v1/updates`: adding a class by clicks, watching it, cancelling it."""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Header, Query, Response

from services.serving.addresses import ModelName, RunId
from services.serving.requests import UPDATE_EXAMPLES, UpdateRequest
from services.serving.responses import UpdateList, UpdateStatus
from services.serving.routes.answers import errors

if TYPE_CHECKING:
    from services.serving.backend import Backend

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[A-Za-z0-9_.:-]{1,128}$",
        description="an id of your own for this request: the same request sent again with it starts nothing "
        "new, however much later; another request with it is refused",
    ),
]


def update_routes(backend: "Backend") -> APIRouter:
    """Routes of the resource `updates`."""
    router = APIRouter(tags=["updates"])

    @router.post(
        "/v1/models/{name}/updates",
        status_code=202,
        summary="Add a class by clicks",
        responses=errors(400, 403, 404, 409, 413, 422, 429, 502, 503),
    )
    async def start(
        name: ModelName,
        request: Annotated[UpdateRequest, Body(openapi_examples=UPDATE_EXAMPLES)],
        response: Response,
        idempotency_key: IdempotencyKey = None,
    ) -> UpdateStatus:
        """Train a network that knows one more class than the base version.

        When this answers 202 the update is on disk: it survives a crash of any part. The header `Location`
        names the resource to watch. An equal request while the first has not ended gives the first one's id.
        """
        status = await backend.start_update(name, request, idempotency_key)
        response.headers["Location"] = f"/v1/updates/{status.id}"
        return status

    @router.get("/v1/updates", summary="List updates, newest first", responses=errors(502))
    async def updates(
        model: Annotated[ModelName | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> UpdateList:
        return UpdateList(updates=await backend.updates(model=model, limit=limit))

    @router.get("/v1/updates/{update_id}", summary="State of an update", responses=errors(404, 502))
    async def update(update_id: RunId) -> UpdateStatus:
        """State, progress and, at its end, the result version and the forgetting report."""
        return await backend.update(update_id)

    @router.delete(
        "/v1/updates/{update_id}", summary="Cancel an update", responses=errors(404, 409, 502, 503)
    )
    async def cancel(update_id: RunId, response: Response) -> UpdateStatus:
        """Cancel an update that waits or runs: nothing is registered. 202 means it is still stopping."""
        status = await backend.cancel_update(update_id)
        response.status_code = 200 if status.is_finished else 202
        return status

    return router
