"""`/v1/maps`: maps of all images of a region, by a job on a cluster."""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Response

from services.serving.addresses import ModelName, RunId
from services.serving.requests import MapsRequest
from services.serving.responses import FINISHED, MapsList, MapsStatus
from services.serving.routes.answers import errors

if TYPE_CHECKING:
    from services.serving.backend import Backend


def map_routes(backend: "Backend") -> APIRouter:
    """Routes of the resource `maps`."""
    router = APIRouter(prefix="/v1/maps", tags=["maps"])

    @router.post(
        "", status_code=202, summary="Map a region", responses=errors(400, 403, 404, 413, 422, 501, 502, 503)
    )
    async def start(request: MapsRequest, response: Response) -> MapsStatus:
        """Map every image with one version: a cloud-optimised GeoTIFF each, with a STAC item beside it.

        The work is spread over a cluster, and goes on whatever process ends meanwhile. The same request again
        is the same job: it maps what has come, or was overwritten, since. The header `Location` names the
        resource to watch.
        """
        status = await backend.start_maps(request)
        response.headers["Location"] = f"/v1/maps/{status.id}"
        return status

    @router.get("", summary="List mapping jobs, newest first", responses=errors(502))
    async def maps(
        model: Annotated[ModelName | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> MapsList:
        return MapsList(maps=await backend.all_maps(model=model, limit=limit))

    @router.get("/{maps_id}", summary="State of a mapping job", responses=errors(404, 502))
    async def state(maps_id: RunId) -> MapsStatus:
        """State, progress and, at its end, what area each class takes."""
        return await backend.maps(maps_id)

    @router.delete("/{maps_id}", summary="Cancel a mapping job", responses=errors(404, 409, 502))
    async def cancel(maps_id: RunId, response: Response) -> MapsStatus:
        """Cancel a job; maps that are done stay. 202 means it is still stopping."""
        status = await backend.cancel_maps(maps_id)
        response.status_code = 200 if status.status in FINISHED else 202
        return status

    return router
