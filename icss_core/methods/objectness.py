"""`objectness`: pixels that likely belong to an object should likely have a class other than the background.

Objects of classes that the network does not have, or does not have yet, are objects too, and the term makes
the network give them one of its own classes. So it only helps if the objects in the images are those of its
classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from icss_core.losses import objectness_loss
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


OBJECTNESS_MAP: Final = Need[OfBatch](
    name="objectness",
    description="objectness, which only scenes of a data set come with",
    of_memory=False,
    map_name="objectness",
    from_scenes=lambda _: extra("objectness"),
)
"""(B, h, w) float32 in [0, 1] of a batch, NaN where missing."""


def _penalty(_: RegulariserParameters, context: TaskContext) -> Penalty:
    objectness_of = context.of(OBJECTNESS_MAP)

    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        objectness = objectness_of(batch)
        defined = ~objectness.isnan()
        return {"objectness": objectness_loss(output.logits, objectness, valid=defined)}

    return terms


OBJECTNESS = Regulariser(
    name="objectness",
    summary="the probability of any class but the background is that of an object",
    source="Bearman et al., What's the Point, arXiv 1506.02106, Eq. 4",
    parameters=RegulariserParameters,
    build=_penalty,
    needs=frozenset({OBJECTNESS_MAP}),
)
