"""`possible`: pixels without a label belong to one of the classes their image may show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from icss_core.losses import possible_classes_cross_entropy
from icss_core.methods.regulariser import (
    Penalty,
    Regulariser,
    RegulariserParameters,
    TaskContext,
    provided,
)

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.networks.segmenter import SegmenterOutput


class PossibleParameters(RegulariserParameters):
    """Gamma, which the paper does not give."""

    weight: float = Field(default=0.1, ge=0)
    """Gamma of MiB's Eq. 13."""


def _penalty(_: PossibleParameters, __: TaskContext) -> Penalty:
    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        possible = provided(batch.possible, "possible")
        return {"possible": possible_classes_cross_entropy(output.logits, batch.labels, possible)}

    return terms


POSSIBLE = Regulariser(
    name="possible",
    summary="unlabelled pixels belong to one of the classes that their image may show",
    source="Cermelli et al., Modeling the Background for Incremental and Weakly-Supervised ..., Eq. 13",
    parameters=PossibleParameters,
    build=_penalty,
    needs=frozenset({"possible"}),
)
