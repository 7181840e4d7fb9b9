"""`/v1/models`: what there is, with its lineage, and accepting or taking back an update."""

from typing import TYPE_CHECKING

from fastapi import APIRouter

from services.serving.addresses import ModelName
from services.serving.requests import AliasRequest
from services.serving.responses import AliasDetail, ModelDetail, ModelList
from services.serving.routes.answers import errors

if TYPE_CHECKING:
    from services.serving.backend import Backend


def model_routes(backend: "Backend") -> APIRouter:
    """Routes of the resource `models`."""
    router = APIRouter(prefix="/v1/models", tags=["models"])

    @router.get("", summary="List the models", responses=errors(502))
    async def models() -> ModelList:
        return ModelList(models=await backend.models())

    @router.get("/{name}", summary="A model: versions, lineage, label space", responses=errors(404, 502))
    async def model(name: ModelName) -> ModelDetail:
        return await backend.model(name)

    @router.post(
        "/{name}/aliases/memory",
        summary="Accept a version, or go back to one",
        responses=errors(400, 404, 409, 413, 422, 429, 502, 503),
    )
    async def accept(name: ModelName, request: AliasRequest) -> AliasDetail:
        """Let `memory`, the version that the next class is added to, be another one.

        The version is loaded first: one that does not load is refused and the alias stays. The response names
        the version before; sending that number goes back. No version is ever deleted.

        With `expected`: 409 if `memory` is another version by now, as somebody else has accepted one.
        """
        return await backend.move_memory(name, request.version, expected=request.expected)

    return router
