"""`podnet`: keeps row and column sums of the deepest features close to the memory network's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.losses import pooled_distillation
from icss_core.methods.memory_needs import MEMORY_FEATURES
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
    memory_features = context.of(MEMORY_FEATURES)

    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        return {"podnet": pooled_distillation(output.features, memory_features(batch))}

    return terms


PODNET = Regulariser(
    name="podnet",
    summary="sums of the deepest features over rows and columns stay the memory network's",
    source="Douillard et al., PODNet, arXiv 2004.13513, as used by ICSS (one level, not normalised)",
    parameters=RegulariserParameters,
    build=_penalty,
    needs=frozenset({MEMORY_FEATURES}),
)
