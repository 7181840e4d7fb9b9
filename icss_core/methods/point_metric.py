"""`point-metric`: features of labelled pixels are close within a class and apart between classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from icss_core.losses import point_triplet_loss
from icss_core.methods.regulariser import Penalty, Regulariser, RegulariserParameters, TaskContext

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.networks.segmenter import SegmenterOutput


class PointMetricParameters(RegulariserParameters):
    """All numbers are ours, the weight of 1 too: the full text of the paper was not available."""

    margin: float = Field(default=0.2, ge=0, le=4)
    """By how much pixels of other classes should be further away, in squared distances of features of length
    1, which are 4 at most; the default is FaceNet's."""
    per_class: int = Field(default=16, ge=2, le=64)
    """Largest number of labelled pixels of a class to compare in a batch: more than points give, fewer than
    scribbles give. The cost grows with its cube."""


def _penalty(parameters: PointMetricParameters, _: TaskContext) -> Penalty:
    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        # labelled background is compared like any class: annotators put points there too
        loss = point_triplet_loss(
            output.decoder_features, batch.labels, margin=parameters.margin, per_class=parameters.per_class
        )
        return {"point_metric": loss}

    return terms


POINT_METRIC = Regulariser(
    name="point-metric",
    summary="labelled pixels of a class nearer to each other than to others, across the images of a batch",
    source="Qian et al., Point-based Distance Metric Learning, arXiv 1811.02233; its numbers are ours",
    parameters=PointMetricParameters,
    build=_penalty,
)
