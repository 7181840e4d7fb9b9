"""Tasks on scenes: new classes learnt from masks of many images, one group of classes after another."""

from icss_core.continual.class_prototypes import class_prototypes
from icss_core.continual.dense_task import first_task_of, task_objective, weight_anchor_of
from icss_core.continual.history import TaskHistory, TaskMeans
from icss_core.continual.protocol import IncrementalProtocol, Setting, protocol_names, read_protocol
from icss_core.continual.split import TaskManifest, split_tasks
from icss_core.continual.weighted_score import ScoreGroup, WeightedScore

__all__ = [
    "IncrementalProtocol",
    "ScoreGroup",
    "Setting",
    "TaskHistory",
    "TaskManifest",
    "TaskMeans",
    "WeightedScore",
    "class_prototypes",
    "first_task_of",
    "protocol_names",
    "read_protocol",
    "split_tasks",
    "task_objective",
    "weight_anchor_of",
]
