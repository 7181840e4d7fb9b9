"""`features`: keeps the deepest features close to the memory network's (the second half of ILT)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.losses import feature_distillation
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
        return {"features": feature_distillation(output.features, memory_features(batch))}

    return terms


FEATURES = Regulariser(
    name="features",
    summary="mean squared distance of the deepest features to the memory network's",
    source="Michieli and Zanuttigh, ILT, arXiv 1907.13372, as published with MiB",
    parameters=RegulariserParameters,
    build=_penalty,
    needs=frozenset({MEMORY_FEATURES}),
)
