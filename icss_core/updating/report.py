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
    from icss_core.updating.runtime import Runtime


def report(update: PreparedUpdate, runtime: Runtime) -> ForgettingReport:
    """Compare the updated network's map of the working area with the memory network's.

    Raises:
        CancelledError: `runtime.should_stop` said so.
    """
    return compare_on_tiles(
        update.network,
        update.images,
        update.images.area,
        update.images.clicks,
        update.memory_view.labels,
        label_space=update.label_space,
        n_old=update.n_old,
        device=update.device,
        precision=update.precision,
        progress=_progress(update, 0),
        should_stop=runtime.should_stop,
        kept=update.kept,
    )


def report_elsewhere(
    update: PreparedUpdate, clicked: ForgettingReport, runtime: Runtime
) -> ElsewhereReport | None:
    """The same on each context image, and what it says of the update; None where there is none.

    Args:
        update: what was trained.
        clicked: the report of the images with clicks.
        runtime: see `report`.

    Raises:
        CancelledError: `runtime.should_stop` said so.
    """
    reports: dict[str, ForgettingReport] = {}
    done = len(update.images.area.tiles)
    for name, area in update.images.context:
        if not area.tiles:
            continue
        reports[name] = compare_on_tiles(
            update.network,
            update.images,
            area,
            ClickSet.empty(),
            update.memory_view.labels[done : done + len(area.tiles)],
            label_space=update.label_space,
            n_old=update.n_old,
            device=update.device,
            precision=update.precision,
            progress=_progress(update, done),
            should_stop=runtime.should_stop,
            kept=update.kept,
        )
        done += len(area.tiles)
    return elsewhere_report(clicked, reports) if reports else None


def _progress(update: PreparedUpdate, done: int) -> Callable[[int, int], None]:
    """Tells of the tiles of one image as a part of those of all, of which so many were done before."""
    total = len(update.images.everywhere.tiles)
    return lambda step, _: update.clock.tell("report", done + step, total)
