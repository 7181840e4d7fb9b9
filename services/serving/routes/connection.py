"""Work that ends when the client goes away: what nobody waits for keeps others waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from icss_core.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from fastapi import Request

T = TypeVar("T")


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of some work, which is cancelled if the client disconnects meanwhile.

    Args:
        request: whose body has been read.
        work: what is done for it.

    Raises:
        CancelledError: the client has gone; nobody reads the answer.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CancelledError("the client has gone away")
        return working.result()
    finally:
        unfinished = [task for task in (working, watching) if not task.done()]
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
