"""The learning of an update, round by round."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from icss_core.updating.prevalence import adapt_to_prevalence

if TYPE_CHECKING:
    from icss_core.methods import Preset
    from icss_core.training import IterationReport
    from icss_core.updating.prepare import PreparedUpdate
    from icss_core.updating.runtime import Runtime


def train(update: PreparedUpdate, preset: Preset, runtime: Runtime) -> list[IterationReport]:
    """Train the network to its end, in eval mode afterwards; the reports of all iterations.

    Raises:
        TrainingDivergedError: the loss became infinite or undefined.
        CancelledError: `runtime.should_stop` said so.
    """
    fit, network, iterations = update.fit, update.network, update.fit.optimisation.iterations
    history: list[IterationReport] = []

    def note(report: IterationReport) -> None:
        history.append(report)
        update.clock.tell("training", report.iteration, report.iterations, report)
        if runtime.on_iteration is not None:
            runtime.on_iteration(report)

    if runtime.on_round is not None:
        for number in range(1, preset.rounds):
            # no background reads while the caller looks at the network: a raster is read by one thread at a
            # time
            until = number * iterations // preset.rounds
            fit.run(until=until, on_iteration=note, should_stop=runtime.should_stop)
            runtime.on_round(number, network.eval())
            fit.train_mode()
    fit.run(on_iteration=note, should_stop=runtime.should_stop)
    network.eval()
    if preset.prevalence.iterations:
        adapt_to_prevalence(
            update.runner,
            network,
            update.images.area,
            update.images.clicks,
            preset.prevalence,
            n_old=update.n_old,
            trained=_votes(update, preset),
        )
    return history


def _votes(update: PreparedUpdate, preset: Preset) -> dict[int, float]:
    """How much each class counted in what the network was fitted by."""
    counts = update.images.clicks.counts()
    if not update.fit.optimisation.iterations and update.held_out:
        return {label: math.sqrt(count) for label, count in counts.items()}
    # balanced votes weigh the classes alike; a plain mean weighs them by their labels
    return {} if preset.cross_entropy.kind == "balanced" else {k: float(v) for k, v in counts.items()}
