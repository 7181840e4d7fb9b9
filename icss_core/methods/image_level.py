"""`image-level`: classes that the image shows are confident at some pixel, all others at none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.losses import image_level_loss
from icss_core.methods.possible import POSSIBLE_CLASSES
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


def _penalty(_: RegulariserParameters, context: TaskContext) -> Penalty:
    possible = context.of(POSSIBLE_CLASSES)

    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        return {"image_level": image_level_loss(output.logits, possible(batch))}

    return terms


IMAGE_LEVEL = Regulariser(
    name="image-level",
    summary="every class that the image shows is sure somewhere in the crop, every other nowhere",
    source="Bearman et al., What's the Point, arXiv 1506.02106, Eq. 2",
    parameters=RegulariserParameters,
    build=_penalty,
    needs=frozenset({POSSIBLE_CLASSES}),
)
