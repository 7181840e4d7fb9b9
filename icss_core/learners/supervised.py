"""`supervised`: a network from new weights, by plain cross-entropy on masks: memory and control networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.continual.replay import REPLAY_ARTEFACT, replay_of_scenes
from icss_core.data.scene_request import SceneRequest
from icss_core.learners.kind import LearnerKind, LearnerParameters
from icss_core.training import SegmentationLearner, cross_entropy_objective

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.data.labelled_scene import LabelledScene
    from icss_core.learners.kind import LearnerContext
    from icss_core.networks.segmenter import Segmenter


class SupervisedLearner(SegmentationLearner):
    """Learns from masks; keeps examples of each class with its version, for the updates from clicks to come.

    Args:
        network: what learns.
        batches: the batch of an iteration.
        scenes: training scenes.
        context: of the training.
    """

    def __init__(
        self,
        network: Segmenter,
        batches: Callable[[int], Batch],
        scenes: Sequence[LabelledScene],
        context: LearnerContext,
    ) -> None:
        super().__init__(network, cross_entropy_objective, batches)
        self._scenes, self._context = scenes, context

    def artefacts(self) -> Mapping[str, Mapping[str, Tensor]]:
        """See `Learner`: hypercolumns of labelled pixels of each class."""
        replay = replay_of_scenes(
            self.network,
            self._scenes,
            size=self._context.crop,
            device=self._context.device,
            precision=self._context.optimisation.precision,
            seed=self._context.seed,
        )
        return {REPLAY_ARTEFACT: replay.to_artefact()}


def _build(_: LearnerParameters, context: LearnerContext) -> SupervisedLearner:
    network, scenes = context.new_network(), context.scenes(SceneRequest())
    return SupervisedLearner(network, context.crops(scenes), scenes, context)


SUPERVISED = LearnerKind(
    name="supervised",
    summary="plain cross-entropy on masks, from new weights",
    parameters=LearnerParameters,
    build=_build,
)
