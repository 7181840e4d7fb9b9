"""The one training loop, and the interface of the trainings that it runs."""

from icss_core.training.fit import Fit, IterationReport
from icss_core.training.learner import Learner, ParameterGroup, TrainingBatch
from icss_core.training.optimisation import Optimisation
from icss_core.training.segmentation_learner import (
    Objective,
    SegmentationLearner,
    cross_entropy_objective,
)

__all__ = [
    "Fit",
    "IterationReport",
    "Learner",
    "Objective",
    "Optimisation",
    "ParameterGroup",
    "SegmentationLearner",
    "TrainingBatch",
    "cross_entropy_objective",
]
