"""Running the application on a Ray cluster that is already there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import ray
from ray import serve

if TYPE_CHECKING:
    from services.settings import Settings

APPLICATION: Final = "icss"


def serve_local(settings: Settings, *, address: str = "auto") -> str:
    """Run the application on the cluster and return its address once it answers requests.

    The replicas read their settings from the cluster's environment; these here say where to listen.

    Args:
        settings: host and port of the HTTP side.
        address: the cluster; `auto` takes the one of this machine or of RAY_ADDRESS.
    """
    from services.serving.app import build

    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False)
    serve.start(
        proxy_location="HeadOnly", http_options={"host": settings.api_host, "port": settings.api_port}
    )
    serve.run(build(), name=APPLICATION, route_prefix="/")
    return f"http://{settings.api_host}:{settings.api_port}"


def stop_serving() -> None:
    """Take the application off the cluster; running updates go on when it is started again."""
    serve.delete(APPLICATION)
