"""`baseline`: cross-entropy on clicks and pseudo-labels, no regulariser (ICSS, section 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from icss_core.losses import partial_cross_entropy
from icss_core.methods.method import Method, StepContext

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.networks.segmenter import SegmenterOutput
    from icss_core.sampling import Batch
    from icss_core.training import Objective


class BaselineParameters(BaseModel):
    """None."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _objective(_: BaselineParameters, __: StepContext) -> Objective:
    def loss(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        return {"cross_entropy": partial_cross_entropy(output.logits, batch.labels)}

    return loss


BASELINE = Method(
    name="baseline",
    summary="cross-entropy on clicks and pseudo-labels",
    source="Lenczner et al., incremental class addition with sparse annotations (ICSS)",
    parameters=BaselineParameters,
    objective=_objective,
)
