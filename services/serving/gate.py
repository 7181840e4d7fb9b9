"""What a request meets before any route: the incident net, the bearer token, the limit on its body.

Pure ASGI, because FastAPI reads a body before it solves dependencies: a stranger's body must not be read at
all, and a large one not further than the limit.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from services.errors import BodyTooLargeError, UnauthorisedError
from services.serving.error_responses import error_response, internal_error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN: Final = frozenset({"/healthz", "/readyz", "/openapi.json", "/docs", "/docs/oauth2-redirect"})
"""The only paths that answer without the token."""


class Gate:
    """ASGI middleware around the whole API.

    Args:
        app: what requests go to once they are let in.
        token: the bearer token, compared in constant time.
        max_body_bytes: largest body, whether or not the request says its length.
    """

    def __init__(self, app: ASGIApp, *, token: str, max_body_bytes: int) -> None:
        self._app = app
        self._token = token.encode()
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here with 401 or 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
        if path not in OPEN and not self._knows(headers):
            problem = UnauthorisedError("a valid token is needed: send 'Authorization: Bearer TOKEN'")
            await error_response(problem)(scope, receive, send)
            return
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self._max_body_bytes:
            await error_response(self._too_large())(scope, receive, send)
            return
        await self._guarded(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = 0
        started = False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._max_body_bytes:
                raise self._too_large()
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            # whoever reads the body may turn our error into its own; the answer stays 413
            if started or taken <= self._max_body_bytes:
                started = True
                await send(message)

        try:
            await self._app(scope, counted, noted)
        except Exception as error:
            if started:
                raise
            if taken <= self._max_body_bytes:
                await internal_error(error)(scope, receive, send)
        if taken > self._max_body_bytes and not started:
            await error_response(self._too_large())(scope, receive, send)

    def _knows(self, headers: dict[bytes, bytes]) -> bool:
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        return secrets.compare_digest(given.strip(), self._token) and scheme.lower() == b"bearer"

    def _too_large(self) -> BodyTooLargeError:
        return BodyTooLargeError(f"the body is larger than {self._max_body_bytes} bytes")
