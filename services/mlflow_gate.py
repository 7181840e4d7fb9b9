"""MLflow's server behind a token: `python -m services.mlflow_gate`.

MLflow's own server takes writes from whoever reaches its port: a model version, and the alias that says
which one is used, could be anybody's on the same machine or network. Its own accounts need further packages
and hash a password at each request (`--app-name basic-auth`). Here one token lets in, as for the HTTP API: a
program sends it as a bearer token, or as the password of basic authentication under any name. A browser asks
for name and password, so the pages stay within reach. `/health` alone is open, for probes.

This process also is the server itself, where `mlflow server` is a process that starts another one, and both
import all of MLflow.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import os
import secrets
from typing import TYPE_CHECKING, Final

from services.settings import load_mlflow_token

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_OPEN: Final = "/health"
_REFUSAL: Final = (
    b"MLflow wants the token of this installation: as a bearer token, or as the password under any name\n"
)


class TokenGate:
    """ASGI middleware that lets only requests with the token pass.

    Args:
        app: what is behind the gate.
        token: compared in constant time.
    """

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here with 401."""
        if scope["type"] == "lifespan" or scope.get("path") == _OPEN or self._is_let_in(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # policy violation
        else:
            headers = [
                (b"content-type", b"text/plain"),
                (b"content-length", str(len(_REFUSAL)).encode()),
                (b"www-authenticate", b'Basic realm="MLflow"'),
            ]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": _REFUSAL})

    def _is_let_in(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])  # the last one counts where there are several
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != b"bearer":
            return False
        return secrets.compare_digest(given.strip(), self._token)


def main() -> None:
    """Run the server until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m services.mlflow_gate", description=__doc__)
    parser.add_argument(
        "--backend-store-uri", required=True, help="sqlite:///... or postgresql+psycopg2://..."
    )
    parser.add_argument("--artifacts-destination", required=True, help="s3:// address of the artefacts")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument(
        "--allowed-hosts",
        default="127.0.0.1:*,localhost:*",
        help="names under which browsers and clients may reach it, by commas",
    )
    arguments = parser.parse_args()
    token = load_mlflow_token()

    # as `mlflow server` does for the process that it starts: MLflow reads these at import, when an imported
    # uvicorn also is its sign to put up its guards against other sites' pages
    os.environ |= {
        "MLFLOW_SERVER_ALLOWED_HOSTS": arguments.allowed_hosts,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a queue for LLM judges, of which we have none
    }
    import uvicorn
    from mlflow.server import constants

    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: arguments.backend_store_uri,
        constants.REGISTRY_STORE_URI_ENV_VAR: arguments.backend_store_uri,
        constants.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: arguments.artifacts_destination,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
    }
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    store = arguments.backend_store_uri
    initialize_backend_stores(store, store, "mlflow-artifacts:/")
    uvicorn.run(TokenGate(app, token=token), host=arguments.host, port=arguments.port, server_header=False)


if __name__ == "__main__":
    main()
