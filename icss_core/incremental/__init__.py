"""Dense steps: new classes learnt from masks of many images, one group of classes after another."""

from icss_core.incremental.class_prototypes import class_prototypes
from icss_core.incremental.dense_step import dense_objective, first_step_of, weight_anchor_of
from icss_core.incremental.history import StepHistory, StepMeans
from icss_core.incremental.protocol import Protocol, Setting, protocol_names, read_protocol
from icss_core.incremental.split import StepManifest, split_steps
from icss_core.incremental.thresholds import entropy_thresholds

__all__ = [
    "Protocol",
    "Setting",
    "StepHistory",
    "StepManifest",
    "StepMeans",
    "class_prototypes",
    "dense_objective",
    "entropy_thresholds",
    "first_step_of",
    "protocol_names",
    "read_protocol",
    "split_steps",
    "weight_anchor_of",
]
