"""What learns in an update: alone in a process, or in several at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from icss_core.continual.replay import REPLAY_ARTEFACT
from icss_core.training import SegmentationLearner
from icss_core.updating.findings import findings_of
from icss_core.updating.prevalence import adapt_to_prevalence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from icss_core.methods import Preset
    from icss_core.updating.prepare import PreparedUpdate

FINDINGS: Final = "findings"
"""Name of the document with `UpdateFindings`."""


class UpdateLearner(SegmentationLearner):
    """Trains a prepared network on crops around clicks, and in the end sets how common its new classes are.

    Args:
        update: what `prepare` has made.
        preset: method and numbers.
    """

    def __init__(self, update: PreparedUpdate, preset: Preset) -> None:
        super().__init__(update.network, update.objective, update.batches)
        self._update, self._preset = update, preset

    def end(self) -> None:
        """See `Learner`: biases of the new classes are set; the network is in eval mode afterwards."""
        if self._update.optimisation.iterations:
            # whoever trains may not have told the clock, which would count its time to the report
            self._update.clock.reached("training", self._update.optimisation.iterations)
        self.network.eval()
        if self._preset.prevalence.iterations:
            adapt_to_prevalence(
                self._update.runner,
                self.network,
                self._update.images.area,
                self._update.images.clicks,
                self._preset.prevalence,
                n_old=self._update.n_old,
                trained=self._votes(),
            )

    def artefacts(self) -> Mapping[str, Mapping[str, Tensor]]:
        """See `Learner`: examples of the classes, where their features are still the network's."""
        replay = self._update.replay
        return {} if replay is None else {REPLAY_ARTEFACT: replay.to_artefact()}

    def documents(self) -> Mapping[str, Any]:
        """See `Learner`: what the update has come to."""
        return {FINDINGS: findings_of(self._update, self._preset).model_dump(mode="json")}

    def _votes(self) -> dict[int, float]:
        """How much each class counted in what the network was fitted by."""
        counts = self._update.images.clicks.counts()
        if not self._update.optimisation.iterations and self._update.held_out:
            return {label: math.sqrt(count) for label, count in counts.items()}
        # balanced votes weigh the classes alike; a plain mean weighs them by their labels
        return (
            {} if self._preset.cross_entropy.kind == "balanced" else {k: float(v) for k, v in counts.items()}
        )
