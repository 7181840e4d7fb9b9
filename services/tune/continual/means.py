"""Means over classes after the last task that a protocol has finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.continual import TaskHistory


def means_of_history(results: Sequence[TaskHistory]) -> dict[str, float]:
    """After the last finished task: `mean_iou` over all classes so far, `new` and `old` over parts of them.

    Beside them the protocol's score under its own name, as soon as all its classes are learnt.

    Args:
        results: a list of one history, as a trial writes it.

    Returns:
        Means without the background; `new` is left out where no new class is in the truth, `old` likewise.
    """
    history = results[-1]
    means = history.means[-1]
    by_name = {
        "mean_iou": means.all_without_background,
        "new": means.new,
        "old": means.old_without_background,
    }
    if history.score is not None:
        by_name[history.score.key] = history.scores[-1]
    return {name: value for name, value in by_name.items() if value is not None}
