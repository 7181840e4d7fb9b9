"""What a request meets before any route: the incident net, the bearer token, the limits on bodies.

Pure ASGI, because FastAPI reads a body before it solves dependencies: a stranger's body must not be read at
all, a large one not further than the limit, and many at once no further than there is room for.
"""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING, Final

from services.errors import BodyTooLargeError, BusyError, UnauthorisedError
from services.serving.error_responses import error_response, internal_error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN: Final = frozenset({"/healthz", "/readyz", "/openapi.json", "/docs", "/docs/oauth2-redirect"})
"""The only paths that answer without the token."""


FREE_BYTES: Final = 2**16
"""Of each body, not counted against the bodies held at once: what is small gets in however full it is."""


class Gate:
    """ASGI middleware around the whole API.

    Args:
        app: what requests go to once they are let in.
        token: the bearer token, compared in constant time.
        max_body_bytes: largest body, whether or not the request says its length.
        max_bodies_bytes: bytes of all bodies that are being received or worked on. One that says its length
            is refused unread where there is no room for it.
    """

    def __init__(self, app: ASGIApp, *, token: str, max_body_bytes: int, max_bodies_bytes: int) -> None:
        self._app = app
        self._token = token.encode()
        self._room = _Room(max_body_bytes, max_bodies_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here with 401, 413 or 429."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
        if path not in OPEN and not self._knows(headers):
            problem = UnauthorisedError("a valid token is needed: send 'Authorization: Bearer TOKEN'")
            await error_response(problem)(scope, receive, send)
            return
        body = _Body(self._room)
        declared = headers.get(b"content-length", b"0")
        try:
            # as long a number as that is larger than any limit, and Python reads none of thousands of digits
            body.grow_to(int(declared) if declared.isdigit() and len(declared) < 19 else sys.maxsize)
        except (BodyTooLargeError, BusyError) as error:
            await error_response(error)(scope, receive, send)
            return
        try:
            await self._guarded(body, scope, receive, send)
        finally:
            body.let_go()

    async def _guarded(self, body: _Body, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application over a body that is counted."""
        taken = 0
        started = False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            body.grow_to(taken)
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            # whoever reads the body may turn our error into its own; the answer stays ours
            if started or body.problem is None:
                started = True
                await send(message)

        try:
            await self._app(scope, counted, noted)
        except Exception as error:
            if started:
                raise
            if body.problem is None:
                await internal_error(error)(scope, receive, send)
        if body.problem is not None and not started:
            await error_response(body.problem)(scope, receive, send)

    def _knows(self, headers: dict[bytes, bytes]) -> bool:
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        return secrets.compare_digest(given.strip(), self._token) and scheme.lower() == b"bearer"


class _Room:
    """How much of all bodies is held, and may be. Touched by the event loop's thread alone."""

    def __init__(self, max_body_bytes: int, max_bodies_bytes: int) -> None:
        self.max_body_bytes = max_body_bytes
        self.max_bodies_bytes = max_bodies_bytes
        self.held = 0


class _Body:
    """The room that one body takes: what it says it is long, or what came of it, whichever is more."""

    def __init__(self, room: _Room) -> None:
        self._room = room
        self._taken = 0
        self.problem: BodyTooLargeError | BusyError | None = None
        """Why the body is refused, once it is."""

    def grow_to(self, size: int) -> None:
        """Take the room for a body of so many bytes.

        Raises:
            BodyTooLargeError: it is larger than any may be.
            BusyError: there is no room for it now.
        """
        room = self._room
        if size > room.max_body_bytes:
            self.problem = BodyTooLargeError(f"the body is larger than {room.max_body_bytes} bytes")
            raise self.problem
        missing = max(size - FREE_BYTES - self._taken, 0)
        if room.held + missing > room.max_bodies_bytes and missing:
            self.problem = BusyError("no room for this body beside those of other requests; try again later")
            raise self.problem
        room.held += missing
        self._taken += missing

    def let_go(self) -> None:
        """Give the room back."""
        self._room.held -= self._taken
        self._taken = 0
