"""Losses: pure functions, tensors in, scalar out, one file per paper's idea.

A loss that is not defined for a batch (no labelled pixel, no pair of classes) is zero *with a gradient path*
and never NaN, so that terms can be added without conditions and the optimiser can always make its iteration.
"""

from icss_core.losses.cross_entropy import (
    class_balanced_cross_entropy,
    partial_cross_entropy,
)
from icss_core.losses.disca import memory_label_cross_entropy
from icss_core.losses.distillation import plain_distillation, unbiased_distillation
from icss_core.losses.feature_distillation import feature_distillation
from icss_core.losses.festa import FestaTerms, draw_anchors, festa_terms
from icss_core.losses.image_level import image_level_loss, objectness_loss
from icss_core.losses.label_map import Reduction
from icss_core.losses.local_pod import local_pod, merge_into_background
from icss_core.losses.plop_labels import (
    CompletedLabels,
    EntropyMedians,
    complete_background,
    completed_cross_entropy,
)
from icss_core.losses.podnet import pooled_distillation
from icss_core.losses.point_metric import point_triplet_loss
from icss_core.losses.possible_classes import possible_classes_cross_entropy
from icss_core.losses.prototypes import (
    Assignment,
    LabelledFeatures,
    Prototypes,
    class_means,
    labelled_features,
    merge_prototypes,
)
from icss_core.losses.sdr import SdrTerms, attraction, matching, repulsion, sdr_terms
from icss_core.losses.sdr_original import separation, sparsity
from icss_core.losses.sdr_published import published_sdr_terms
from icss_core.losses.sigmoid import sigmoid_cross_entropy, sigmoid_distillation
from icss_core.losses.unbiased_cross_entropy import unbiased_cross_entropy

__all__ = [
    "Assignment",
    "CompletedLabels",
    "EntropyMedians",
    "FestaTerms",
    "LabelledFeatures",
    "Prototypes",
    "Reduction",
    "SdrTerms",
    "attraction",
    "class_balanced_cross_entropy",
    "class_means",
    "complete_background",
    "completed_cross_entropy",
    "draw_anchors",
    "feature_distillation",
    "festa_terms",
    "image_level_loss",
    "labelled_features",
    "local_pod",
    "matching",
    "memory_label_cross_entropy",
    "merge_into_background",
    "merge_prototypes",
    "objectness_loss",
    "partial_cross_entropy",
    "plain_distillation",
    "point_triplet_loss",
    "pooled_distillation",
    "possible_classes_cross_entropy",
    "published_sdr_terms",
    "repulsion",
    "sdr_terms",
    "separation",
    "sigmoid_cross_entropy",
    "sigmoid_distillation",
    "sparsity",
    "unbiased_cross_entropy",
    "unbiased_distillation",
]
