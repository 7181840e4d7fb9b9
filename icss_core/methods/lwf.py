"""`lwf`: distils the memory network's probabilities of the old classes among themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.losses import plain_distillation
from icss_core.methods.distillation import DistillationParameters
from icss_core.methods.memory_needs import MEMORY_LOGITS
from icss_core.methods.regulariser import Penalty, Regulariser, TaskContext

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.networks.segmenter import SegmenterOutput


def _penalty(parameters: DistillationParameters, context: TaskContext) -> Penalty:
    memory_logits = context.of(MEMORY_LOGITS)

    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        memory = memory_logits(batch).float()
        return {"lwf": plain_distillation(output.logits, memory, alpha=parameters.alpha)}

    return terms


LWF = Regulariser(
    name="lwf",
    summary="plain distillation: the old classes among themselves, blind to the new ones",
    source="Li and Hoiem, Learning without Forgetting, arXiv 1606.09282, as published with MiB",
    parameters=DistillationParameters,
    build=_penalty,
    needs=frozenset({MEMORY_LOGITS}),
)
