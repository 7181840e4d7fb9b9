"""`sdr-shape`: classes contracted, pushed apart, and their features sparse, by the labels of a task alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch.nn import functional

from icss_core.labels import BACKGROUND, IGNORE
from icss_core.losses.prototypes import Assignment, class_means, labelled_features
from icss_core.losses.sdr import attraction
from icss_core.losses.sdr_original import separation, sparsity
from icss_core.methods.regulariser import Penalty, Regulariser, RegulariserParameters, TaskContext

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.networks.segmenter import SegmenterOutput


class SdrShapeParameters(RegulariserParameters):
    """Weights of the three terms.

    Unlike in SDR, features are drawn to the mean of their class in the batch, as in ICSS, not to a running
    one, and the background has no mean in the first task either.
    """

    attract: float = Field(default=1e-3, ge=0)
    separate: float = Field(default=1e-3, ge=0)
    sparse: float = Field(default=1e-3, ge=0)
    assignment: Assignment = "pooled"


def _penalty(parameters: SdrShapeParameters, context: TaskContext) -> Penalty:
    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        features, labels = output.features, batch.labels
        # what a mask calls background holds classes of other tasks: no mean of its own
        named = torch.where(labels == BACKGROUND, IGNORE, labels)
        samples = labelled_features(features, named, assignment=parameters.assignment)
        means = class_means(samples, n_classes=context.n_classes)
        coarse = functional.interpolate(labels[:, None].float(), features.shape[2:], mode="nearest")
        return {
            "sdr_attract": parameters.attract * attraction(samples, means),
            "sdr_separate": parameters.separate * separation(means),
            "sdr_sparse": parameters.sparse * sparsity(features, coarse[:, 0].long()),
        }

    return terms


SDR_SHAPE = Regulariser(
    name="sdr-shape",
    summary="features of a class together, classes apart, features sparse",
    source="Michieli and Zanuttigh, SDR, arXiv 2103.06342, Eqs. 5 to 8; a batch's own class means",
    parameters=SdrShapeParameters,
    build=_penalty,
)
