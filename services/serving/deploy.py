"""Running the application on a Ray cluster that is already there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import ray
from ray import serve

if TYPE_CHECKING:
    from services.settings import Settings

APPLICATION: Final = "icss"


def serve_local(settings: Settings) -> str:
    """Run the application on the cluster that RAY_ADDRESS names; returns its address once it serves.

    The replicas read their settings from the environment of the cluster; these here say where to listen.

    Args:
        settings: host and port of the HTTP side.
    """
    from services.serving.deployments import build

    settings.require_api_token()  # an error here is clearer than one in a replica's log
    _connect()
    serve.start(
        proxy_location="HeadOnly", http_options={"host": settings.api_host, "port": settings.api_port}
    )
    serve.run(build(), name=APPLICATION, route_prefix="/")
    return f"http://{settings.api_host}:{settings.api_port}"


def stop_serving() -> None:
    """Take the application off the cluster. Updates that run or wait go on when it is started again."""
    _connect()
    serve.delete(APPLICATION)


def _connect() -> None:
    if not ray.is_initialized():
        ray.init(address="auto", log_to_driver=False)
