"""The learning of an update, round by round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.training import Fit
from icss_core.updating.learner import UpdateLearner

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
    fit = Fit(UpdateLearner(update, preset), update.optimisation, device=update.runner.device)
    network, iterations = update.network, update.optimisation.iterations
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
    return history
