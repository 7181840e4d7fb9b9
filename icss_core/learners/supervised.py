"""`supervised`: a network from new weights, by plain cross-entropy on masks: memory and control networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.data.scene_request import SceneRequest
from icss_core.learners.kind import LearnerKind, LearnerParameters
from icss_core.training import SegmentationLearner, cross_entropy_objective

if TYPE_CHECKING:
    from icss_core.learners.kind import LearnerContext


def _build(_: LearnerParameters, context: LearnerContext) -> SegmentationLearner:
    network = context.new_network()
    return SegmentationLearner(
        network, cross_entropy_objective, context.crops(context.scenes(SceneRequest()))
    )


SUPERVISED = LearnerKind(
    name="supervised",
    summary="plain cross-entropy on masks, from new weights",
    parameters=LearnerParameters,
    build=_build,
)
