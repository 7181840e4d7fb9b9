"""`festa`: scores of a pixel near its neighbours' in space and by score, far from the least similar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field

from icss_core.losses import draw_anchors, festa_terms
from icss_core.methods.regulariser import Penalty, Regulariser, RegulariserParameters, TaskContext

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.networks.segmenter import SegmenterOutput


class FestaParameters(RegulariserParameters):
    """Numbers of FESTA; its authors give the sum a weight of 0.1, ICSS of 1."""

    feature_neighbour: float = Field(default=0.5, ge=0)
    """Weight of the squared distance to the closest scores among all pixels."""
    spatial_neighbour: float = Field(default=1.5, ge=0)
    """Weight of the squared distance to the closest scores among the 8 neighbours."""
    far: float = Field(default=1.0, ge=0)
    """Weight of 1 + the smallest cosine similarity to the scores of any pixel."""
    anchors: float = Field(default=0.01, gt=0, le=1)
    """Pixels that are compared with all others, as a fraction of those of a crop."""


def _penalty(parameters: FestaParameters, context: TaskContext) -> Penalty:
    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        height, width = output.logits.shape[2:]
        seed = np.random.SeedSequence([context.seed, batch.iteration]).generate_state(1)
        generator = torch.Generator().manual_seed(int(seed[0]))
        anchors = draw_anchors(height, width, fraction=parameters.anchors, generator=generator)
        distances = festa_terms(output.logits, anchors.to(output.logits.device))
        return {
            "feature_neighbour": parameters.feature_neighbour * distances.feature_neighbour.mean(),
            "spatial_neighbour": parameters.spatial_neighbour * distances.spatial_neighbour.mean(),
            "far": parameters.far * distances.far.mean(),
        }

    return terms


FESTA = Regulariser(
    name="festa",
    summary="scores near their neighbours' in space and in score space, and far from one pixel's",
    source="Hua et al., Semantic segmentation with sparse labels (FESTA), as used by ICSS, on the logits",
    parameters=FestaParameters,
    build=_penalty,
)
