"""`sdr`: the baseline plus matching, attraction and repulsion of class prototypes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from icss_core.losses import partial_cross_entropy, sdr_terms
from icss_core.losses.prototypes import Assignment
from icss_core.methods.method import Method, StepContext

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.networks.segmenter import SegmenterOutput
    from icss_core.sampling import Batch
    from icss_core.training import Objective


class SdrParameters(BaseModel):
    """Weights of the three terms; ICSS exposes none and uses 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: float = Field(default=1.0, ge=0)
    attract: float = Field(default=1.0, ge=0)
    repulse: float = Field(default=1.0, ge=0)
    assignment: Assignment = "pooled"
    """How a labelled pixel reads the stride-32 features."""


def _objective(parameters: SdrParameters, context: StepContext) -> Objective:
    memory = context.prototypes
    if memory is None:
        raise AssertionError("the step gave no prototypes although the method needs them")

    def loss(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        device = output.features.device
        terms = sdr_terms(
            output.features,
            batch.labels,
            memory.means.to(device),
            memory.valid.to(device),
            assignment=parameters.assignment,
        )
        return {
            "cross_entropy": partial_cross_entropy(output.logits, batch.labels),
            "match": parameters.match * terms.match,
            "attract": parameters.attract * terms.attract,
            "repulse": parameters.repulse * terms.repulse,
        }

    return loss


SDR = Method(
    name="sdr",
    summary="prototypes of the memory network matched, classes contracted and pushed apart",
    source="Michieli and Zanuttigh, SDR, arXiv 2103.06342, as used by ICSS, formulas corrected",
    parameters=SdrParameters,
    objective=_objective,
    needs_prototypes=True,
)
