"""The FastAPI application, built by a function over whatever back end it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer

from services.serving.error_responses import install_error_handlers
from services.serving.gate import Gate
from services.serving.routes.health import health_routes
from services.serving.routes.maps import map_routes
from services.serving.routes.models import model_routes
from services.serving.routes.predictions import prediction_routes
from services.serving.routes.updates import update_routes
from services.serving.routes.uploads import upload_routes

if TYPE_CHECKING:
    from services.serving.backend import Backend

_DESCRIPTION: Final = """
Teach a segmentation network new classes from a few clicks, without forgetting the old ones.

1. `GET /v1/models` says what there is.
2. `POST /v1/models/{name}/updates` with an image and clicks starts an **update** and answers with its id.
3. `GET /v1/updates/{id}` shows step, loss, seconds left, and in the end the version it made and what that
   cost the old classes.
4. `POST /v1/predictions` with that version gives a georeferenced map.
5. `POST /v1/models/{name}/aliases/memory` accepts the version, or goes back to an older one.

Every path below `/v1` needs the header `Authorization: Bearer TOKEN`. Every error has the same body: its
`type` is for programs, its `message` for people.
"""


def create_api(backend: Backend, *, token: str, max_body_bytes: int, max_bodies_bytes: int) -> FastAPI:
    """The application over a back end.

    Args:
        backend: what the routes call.
        token: bearer token that every path below `/v1` asks for.
        max_body_bytes: largest body of a request.
        max_bodies_bytes: of all bodies that it holds at once; see `Gate`.
    """
    api = FastAPI(title="ICSS", description=_DESCRIPTION, version="1", redoc_url=None)
    # the gate decides; this only tells the documentation page that there is a token
    bearer = [Depends(HTTPBearer(auto_error=False))]
    api.include_router(model_routes(backend), dependencies=bearer)
    api.include_router(update_routes(backend), dependencies=bearer)
    api.include_router(prediction_routes(backend), dependencies=bearer)
    api.include_router(map_routes(backend), dependencies=bearer)
    api.include_router(upload_routes(backend), dependencies=bearer)
    api.include_router(health_routes(backend))
    install_error_handlers(api)
    api.add_middleware(Gate, token=token, max_body_bytes=max_body_bytes, max_bodies_bytes=max_bodies_bytes)
    return api
