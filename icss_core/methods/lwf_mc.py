"""`lwf-mc`: the memory network's yes or no to each old class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.losses import sigmoid_distillation
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


def _penalty(_: RegulariserParameters, __: TaskContext) -> Penalty:
    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        memory = provided(batch.memory_logits, "memory_logits").float()
        return {"lwf_mc": sigmoid_distillation(output.logits, memory)}

    return terms


LWF_MC = Regulariser(
    name="lwf-mc",
    summary="distillation of a yes or no to each old class, beside `cross_entropy.kind: sigmoid`",
    source="Rebuffi et al., iCaRL, arXiv 1611.07725, as published with MiB",
    parameters=RegulariserParameters,
    build=_penalty,
    needs=frozenset({"memory_logits"}),
)
