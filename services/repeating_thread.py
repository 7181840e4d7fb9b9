"""Something that is done again and again beside everything else, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from icss_core.errors import IcssError

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger(__name__)


class RepeatingThread:
    """Does its work at once and then every so many seconds, until it is closed or its process ends.

    What goes wrong is logged, and the next turn comes all the same.

    Args:
        work: done at each turn; may block.
        name: of the thread.
        seconds: from the end of a turn to the next.
        on_failure: what the log says of a turn that failed, before the reason.
    """

    def __init__(self, work: Callable[[], object], *, name: str, seconds: float, on_failure: str) -> None:
        self._work, self._seconds, self._on_failure = work, seconds, on_failure
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the present turn."""
        self._closing.set()

    def _run(self) -> None:
        while True:
            try:
                self._work()
            except IcssError as error:
                _logger.warning("%s: %s", self._on_failure, error)
            except Exception:
                _logger.exception("%s", self._on_failure)
            if self._closing.wait(self._seconds):
                return
