"""After an update has learnt: what became of the old classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.updating.comparison import compare_on_tiles

if TYPE_CHECKING:
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
        progress=update.clock.tiles("report"),
        should_stop=runtime.should_stop,
    )
