"""Whether MLflow and the object store answer, asked again and again, so that an alert waits for no request.

`readiness` answers probes, which may never come; this tells whoever keeps the metrics.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_log = logging.getLogger("ray.serve")


class Dependencies:
    """Parts that the service depends on.

    Args:
        questions: by the name of a part, what returns where it answers and raises where it does not.
        on_answer: told the name of each part that was asked, and whether it answered.
    """

    def __init__(
        self, questions: Mapping[str, Callable[[], object]], on_answer: Callable[[str, bool], None]
    ) -> None:
        self._questions = questions
        self._on_answer = on_answer
        self._answered = dict.fromkeys(questions, True)

    def ask(self) -> None:
        """Ask all of them, one after another; blocks as long as they do. A change is logged."""
        for name, question in self._questions.items():
            reason = _reason_for_silence(question)
            if reason is not None and self._answered[name]:
                _log.warning("%s does not answer: %s", name, reason)
            elif reason is None and not self._answered[name]:
                _log.info("%s answers again", name)
            self._answered[name] = reason is None
            self._on_answer(name, reason is None)


def _reason_for_silence(question: Callable[[], object]) -> str | None:
    """Why a part does not answer; None if it does."""
    try:
        question()
    except Exception as error:  # noqa: BLE001 - whatever it is, the part does not answer
        return f"{type(error).__name__}: {error}"
    return None
