"""Whether the parts that the service needs answer, without asking them more often than they can bear.

Probes may come from many places every second, and a part that hangs keeps whoever asks it. So each part is
asked once at a time, its answer is kept for a moment, and nobody waits longer for it than `PATIENCE`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

_log = logging.getLogger(__name__)

PATIENCE: Final = 2.0
"""Seconds that a part has to answer."""
KEPT: Final = 1.0
"""Seconds for which an answer is passed on without asking again."""


class Readiness:
    """Asks parts whether they are ready.

    Args:
        parts: by name, a question that returns True where the part is ready; anything else, an error or no
            answer in time mean that it is not.
    """

    def __init__(self, parts: Mapping[str, Callable[[], Awaitable[bool]]]) -> None:
        self._parts = {name: _Part(name, ask) for name, ask in parts.items()}

    async def ask(self) -> dict[str, bool]:
        """Which parts are ready, after `PATIENCE` seconds at most."""
        answers = await asyncio.gather(*(part.answer() for part in self._parts.values()))
        return dict(zip(self._parts, answers, strict=True))


class _Part:
    def __init__(self, name: str, ask: Callable[[], Awaitable[bool]]) -> None:
        self._name = name
        self._ask = ask
        self._question: asyncio.Task[bool] | None = None
        self._asked = 0.0
        self._ready = True

    async def answer(self) -> bool:
        if self._question is None or (self._question.done() and time.monotonic() - self._asked > KEPT):
            self._question = asyncio.create_task(self._put())
            self._asked = time.monotonic()
        left = max(self._asked + PATIENCE - time.monotonic(), 0.0)
        done, _ = await asyncio.wait({self._question}, timeout=left)
        if not done:
            self._note(ready=False, reason=f"no answer within {PATIENCE:.0f} s")
            return False
        return self._question.result()

    async def _put(self) -> bool:
        try:
            ready = await self._ask() is True
        except Exception as error:  # noqa: BLE001 - whatever it is, the part is not ready
            self._note(ready=False, reason=f"{type(error).__name__}: {error}")
            return False
        self._note(ready=ready, reason="it says so itself")
        return ready

    def _note(self, *, ready: bool, reason: str) -> None:
        """Log a change, not every probe."""
        if ready != self._ready:
            self._ready = ready
            if ready:
                _log.info("%s answers again", self._name)
            else:
                _log.warning("%s is not ready: %s", self._name, reason)


class BlockingQuestions:
    """Questions that block, in threads of their own: all others may be waiting for a dead part."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="readiness")

    def __call__(self, question: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
        """The question as one that can be awaited."""

        async def ask() -> bool:
            return await asyncio.get_running_loop().run_in_executor(self._pool, question)

        return ask
