"""`possible`: pixels without a label belong to one of the classes their image may show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import Field

from icss_core.losses import possible_classes_cross_entropy
from icss_core.methods.need import Need, OfBatch, extra
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


class PossibleParameters(RegulariserParameters):
    """Gamma, which the paper does not give."""

    weight: float = Field(default=0.1, ge=0)
    """Gamma of MiB's Eq. 13."""


POSSIBLE_CLASSES: Final = Need[OfBatch](
    name="possible",
    description="which classes each image may show (B, N)",
    of_memory=False,
    image_labels=True,
    from_scenes=lambda _: extra("possible"),
    from_clicks=lambda _: extra("possible"),
)
"""(B, N) bool of a batch; in updates: the background and the classes of clicks and pseudo-labels."""


def _penalty(_: PossibleParameters, context: TaskContext) -> Penalty:
    possible = context.of(POSSIBLE_CLASSES)

    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        return {"possible": possible_classes_cross_entropy(output.logits, batch.labels, possible(batch))}

    return terms


POSSIBLE = Regulariser(
    name="possible",
    summary="unlabelled pixels belong to one of the classes that their image may show",
    source="Cermelli et al., Modeling the Background for Incremental and Weakly-Supervised ..., Eq. 13",
    parameters=PossibleParameters,
    build=_penalty,
    needs=frozenset({POSSIBLE_CLASSES}),
)
