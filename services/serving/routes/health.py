"""`/healthz` and `/readyz`: whether the process lives, and whether it can serve."""

from typing import TYPE_CHECKING

from fastapi import APIRouter, Response

from services.serving.responses import Health

if TYPE_CHECKING:
    from services.serving.backend import Backend


def health_routes(backend: "Backend") -> APIRouter:
    """Routes for probes; they need no token."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="Is the process alive?")
    async def alive() -> Health:
        return Health(status="ok")

    @router.get(
        "/readyz",
        summary="Can it serve?",
        responses={503: {"model": Health, "description": "A part is still starting, or is down."}},
    )
    async def ready(response: Response) -> Health:
        health = await backend.health()
        response.status_code = 200 if health.status == "ok" else 503
        return health

    return router
