"""Scores of class maps: confusion matrices, what is computed from them, and a report that names each mean."""

from icss_core.metrics.confusion import (
    ConfusionAccumulator,
    accuracy,
    confusion_matrix,
    f1_per_class,
    iou_per_class,
    joint_counts,
    mean_defined,
    precision_per_class,
    recall_per_class,
)
from icss_core.metrics.report import ClassScores, GroupMeans, SegmentationReport, segmentation_report

__all__ = [
    "ClassScores",
    "ConfusionAccumulator",
    "GroupMeans",
    "SegmentationReport",
    "accuracy",
    "confusion_matrix",
    "f1_per_class",
    "iou_per_class",
    "joint_counts",
    "mean_defined",
    "precision_per_class",
    "recall_per_class",
    "segmentation_report",
]
