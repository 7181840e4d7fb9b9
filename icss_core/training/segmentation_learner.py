"""Learning one segmentation network by one objective: pretraining, updates from clicks, tasks on scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from icss_core.data.batch import Batch
from icss_core.networks.segmenter import SegmenterOutput
from icss_core.training.learner import Learner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from icss_core.networks.segmenter import Segmenter
    from icss_core.regularisation.weight_anchor import WeightAnchor

Objective: TypeAlias = "Callable[[SegmenterOutput, Batch], Mapping[str, Tensor]]"
"""The terms of a batch's loss by name, each a scalar and already weighted; their sum is minimised."""


class SegmentationLearner(Learner[Batch, SegmenterOutput]):
    """One network, one stream of batches, one objective.

    Args:
        network: what learns.
        objective: see `Objective`.
        batches: the batch of an iteration, a pure function of it.
        anchor: what holds weights, and gathers how much they matter.
    """

    def __init__(
        self,
        network: Segmenter,
        objective: Objective,
        batches: Callable[[int], Batch],
        *,
        anchor: WeightAnchor | None = None,
    ) -> None:
        self.network = network
        self._objective, self._batches, self._anchor = objective, batches, anchor

    def batch(self, iteration: int) -> Batch:
        """See `Learner`."""
        return self._batches(iteration)

    def forward(self, batch: Batch) -> SegmenterOutput:
        """See `Learner`."""
        output: SegmenterOutput = self.network(batch.pixels)
        return output

    def objective(self, outputs: SegmenterOutput, batch: Batch) -> Mapping[str, Tensor]:
        """See `Learner`."""
        return self._objective(outputs, batch)

    def after_backward(self) -> Mapping[str, Tensor]:
        """See `Learner`: the anchor adds its gradients."""
        if self._anchor is None:
            return {}
        return {"anchor": self._anchor.add_gradients(dict(self.network.named_parameters()))}

    def state_dict(self) -> dict[str, Any]:
        """See `Learner`."""
        return {} if self._anchor is None else {"anchor": self._anchor.gatherer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Learner`."""
        if self._anchor is not None:
            self._anchor.gatherer.load_state_dict(state["anchor"])


def cross_entropy_objective(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
    """Plain cross-entropy over the labelled pixels: dense pretraining and the control network."""
    from icss_core.losses import partial_cross_entropy

    return {"cross_entropy": partial_cross_entropy(output.logits, batch.labels)}
