"""Losses: pure functions, tensors in, scalar out, one file per paper's idea.

Every loss is zero *with a gradient path* where it has nothing to say (no labelled pixel, no pair of classes),
never NaN, so that terms can be added without conditions and an optimiser step is always defined.
"""

from icss_core.losses.cross_entropy import (
    capped_class_weights,
    class_balanced_cross_entropy,
    partial_cross_entropy,
)
from icss_core.losses.disca import memory_label_cross_entropy
from icss_core.losses.distillation import unbiased_distillation
from icss_core.losses.festa import FestaTerms, draw_anchors, festa_terms
from icss_core.losses.podnet import pooled_distillation
from icss_core.losses.prototypes import (
    Assignment,
    LabelledFeatures,
    Prototypes,
    class_means,
    labelled_features,
    merge_prototypes,
)
from icss_core.losses.sdr import SdrTerms, attraction, matching, repulsion, sdr_terms
from icss_core.losses.sdr_published import published_sdr_terms

__all__ = [
    "Assignment",
    "FestaTerms",
    "LabelledFeatures",
    "Prototypes",
    "SdrTerms",
    "attraction",
    "capped_class_weights",
    "class_balanced_cross_entropy",
    "class_means",
    "draw_anchors",
    "festa_terms",
    "labelled_features",
    "matching",
    "memory_label_cross_entropy",
    "merge_prototypes",
    "partial_cross_entropy",
    "pooled_distillation",
    "published_sdr_terms",
    "repulsion",
    "sdr_terms",
    "unbiased_distillation",
]
