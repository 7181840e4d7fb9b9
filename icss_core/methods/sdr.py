"""`sdr`: class prototypes matched to the memory network's, classes contracted and pushed apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from icss_core.losses import sdr_terms
from icss_core.losses.prototypes import Assignment
from icss_core.methods.memory_needs import PROTOTYPES
from icss_core.methods.regulariser import (
    Penalty,
    Regulariser,
    RegulariserParameters,
    TaskContext,
)

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.networks.segmenter import SegmenterOutput


class SdrParameters(RegulariserParameters):
    """Weights of the three terms; ICSS exposes none and uses 1."""

    match: float = Field(default=1.0, ge=0)
    attract: float = Field(default=1.0, ge=0)
    repulse: float = Field(default=1.0, ge=0)
    assignment: Assignment = "pooled"
    """How a labelled pixel reads the stride-32 features."""


def _penalty(parameters: SdrParameters, context: TaskContext) -> Penalty:
    memory = context.of(PROTOTYPES)

    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        device = output.features.device
        losses = sdr_terms(
            output.features,
            batch.labels,
            memory.means.to(device),
            memory.valid.to(device),
            assignment=parameters.assignment,
        )
        return {
            "match": parameters.match * losses.match,
            "attract": parameters.attract * losses.attract,
            "repulse": parameters.repulse * losses.repulse,
        }

    return terms


SDR = Regulariser(
    name="sdr",
    summary="prototypes of the memory network matched, classes contracted and pushed apart",
    source="Michieli and Zanuttigh, SDR, arXiv 2103.06342, as used by ICSS, formulas corrected",
    parameters=SdrParameters,
    build=_penalty,
    needs=frozenset({PROTOTYPES}),
)
