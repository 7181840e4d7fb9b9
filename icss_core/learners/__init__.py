"""Kinds of training that a job can be asked for by name. A new one is a file and an entry in the registry."""

from icss_core.learners.kind import LearnerContext, LearnerKind, LearnerParameters, MemoryVersion
from icss_core.learners.registry import LEARNERS, learner_kind

__all__ = [
    "LEARNERS",
    "LearnerContext",
    "LearnerKind",
    "LearnerParameters",
    "MemoryVersion",
    "learner_kind",
]
