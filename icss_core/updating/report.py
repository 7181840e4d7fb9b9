"""After an update has learnt: what became of the old classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.clicks.click_set import ClickSet
from icss_core.metrics.elsewhere import elsewhere_report
from icss_core.updating.comparison import compare_on_tiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from icss_core.metrics.elsewhere import ElsewhereReport
    from icss_core.metrics.forgetting import ForgettingReport
    from icss_core.updating.prepare import PreparedUpdate


def report(update: PreparedUpdate) -> ForgettingReport:
    """Compare the updated network's map of the working area with the memory network's.

    Raises:
        CancelledError: the update was stopped.
    """
    return compare_on_tiles(
        update.runner,
        update.network,
        update.images.area,
        update.images.clicks,
        update.memory_view.labels,
        label_space=update.label_space,
        n_old=update.n_old,
        progress=_progress(update, 0),
    )


def report_elsewhere(update: PreparedUpdate, clicked: ForgettingReport) -> ElsewhereReport | None:
    """The same on each context image, and what it says of the update; None where there is none.

    Args:
        update: what was trained.
        clicked: the report of the images with clicks.

    Raises:
        CancelledError: the update was stopped.
    """
    reports: dict[str, ForgettingReport] = {}
    done = len(update.images.area.tiles)
    for name, area in update.images.context:
        if not area.tiles:
            continue
        reports[name] = compare_on_tiles(
            update.runner,
            update.network,
            area,
            ClickSet.empty(),
            update.memory_view.labels[done : done + len(area.tiles)],
            label_space=update.label_space,
            n_old=update.n_old,
            progress=_progress(update, done),
        )
        done += len(area.tiles)
    return elsewhere_report(clicked, reports) if reports else None


def _progress(update: PreparedUpdate, done: int) -> Callable[[int, int], None]:
    """Tells of the tiles of one image as a part of those of all, of which so many were done before."""
    total = len(update.images.everywhere.tiles)
    return lambda step, _: update.clock.tell("report", done + step, total)
