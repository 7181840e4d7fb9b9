"""`sdr_published`: SDR as the published ICSS code computes it, to reproduce that code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from icss_core.losses import published_sdr_terms
from icss_core.methods.regulariser import Penalty, Regulariser, RegulariserParameters, TaskContext

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.networks.segmenter import SegmenterOutput


class PublishedSdrParameters(RegulariserParameters):
    """Numbers of SDR as published."""

    match: float = Field(default=1.0, ge=0)
    attract: float = Field(default=1.0, ge=0)
    repulse: float = Field(default=1.0, ge=0)
    every_label: bool = False
    """Use every label (published `LATENT_SPACE: false`), not one in a thousand (the published default)."""


def _penalty(parameters: PublishedSdrParameters, context: TaskContext) -> Penalty:
    previous: Tensor | None = None  # class means of the batch before; a new task starts anew

    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        nonlocal previous
        if previous is None:
            previous = output.features.new_zeros(context.n_classes, output.features.shape[1])
        losses, previous = published_sdr_terms(
            output.features, batch.labels, previous, every_label=parameters.every_label
        )
        return {
            "published_match": parameters.match * losses.match,
            "published_attract": parameters.attract * losses.attract,
            "published_repulse": parameters.repulse * losses.repulse,
        }

    return terms


SDR_PUBLISHED = Regulariser(
    name="sdr_published",
    summary="SDR as published with ICSS: previous batch's prototypes, zeros outside the class",
    source="ICSS, published code; the carry-over of prototypes from image to image is not repeated",
    parameters=PublishedSdrParameters,
    build=_penalty,
)
