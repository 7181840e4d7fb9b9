"""`distillation`: distils the memory network at every pixel; its background contains the new classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from icss_core.losses import unbiased_distillation
from icss_core.methods.memory_needs import MEMORY_LOGITS
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


class DistillationParameters(RegulariserParameters):
    """Numbers of unbiased distillation; MiB gives it a weight of 10 beside a dense cross-entropy."""

    alpha: float = Field(default=1.0, gt=0)
    """Factor on the memory network's logits; above 1 the targets become harder."""


def _penalty(parameters: DistillationParameters, context: TaskContext) -> Penalty:
    memory_logits = context.of(MEMORY_LOGITS)

    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        memory = memory_logits(batch).float()
        return {"distillation": unbiased_distillation(output.logits, memory, alpha=parameters.alpha)}

    return terms


DISTILLATION = Regulariser(
    name="distillation",
    summary="unbiased distillation of the memory network on every pixel of the crops",
    source="Cermelli et al., Modeling the Background (MiB), arXiv 2002.00718, Eqs. 7-9",
    parameters=DistillationParameters,
    build=_penalty,
    needs=frozenset({MEMORY_LOGITS}),
)
