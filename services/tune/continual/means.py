"""Means of a protocol's history, as far as it has come."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.continual import TaskHistory


def means_of_history(results: Sequence[TaskHistory]) -> dict[str, float]:
    """After the last task: `mean_iou` of all classes so far without the background, `new`, `old`.

    Args:
        results: one history.
    """
    means = results[-1].means[-1]
    known = {
        "mean_iou": means.all_without_background,
        "new": means.new,
        "old": means.old_without_background,
    }
    return {name: value for name, value in known.items() if value is not None}
