"""`lwf-mc`: distils the memory network's independent decision on each old class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.losses import sigmoid_distillation
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


def _penalty(_: RegulariserParameters, context: TaskContext) -> Penalty:
    memory_logits = context.of(MEMORY_LOGITS)

    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        memory = memory_logits(batch).float()
        return {"lwf_mc": sigmoid_distillation(output.logits, memory)}

    return terms


LWF_MC = Regulariser(
    name="lwf-mc",
    summary="distillation of a yes or no to each old class, beside `cross_entropy.kind: sigmoid`",
    source="Rebuffi et al., iCaRL, arXiv 1611.07725, as published with MiB",
    parameters=RegulariserParameters,
    build=_penalty,
    needs=frozenset({MEMORY_LOGITS}),
)
