"""Losses: pure functions, tensors in, scalar out, one file per paper's idea.

Every loss is zero *with a gradient path* where it has nothing to say (no labelled pixel, no pair of classes),
never NaN, so that terms can be added without conditions and an optimiser step is always defined.
"""

from icss_core.losses.cross_entropy import (
    capped_class_weights,
    class_balanced_cross_entropy,
    partial_cross_entropy,
)
from icss_core.losses.distillation import unbiased_distillation
from icss_core.losses.prototypes import (
    Assignment,
    LabelledFeatures,
    Prototypes,
    class_means,
    labelled_features,
    merge_prototypes,
)
from icss_core.losses.sdr import SdrTerms, attraction, matching, repulsion, sdr_terms

__all__ = [
    "Assignment",
    "LabelledFeatures",
    "Prototypes",
    "SdrTerms",
    "attraction",
    "capped_class_weights",
    "class_balanced_cross_entropy",
    "class_means",
    "labelled_features",
    "matching",
    "merge_prototypes",
    "partial_cross_entropy",
    "repulsion",
    "sdr_terms",
    "unbiased_distillation",
]
