"""`icss`: our default. A head fitted to the clicks, then fine-tuning held near the memory network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from icss_core.losses import class_balanced_cross_entropy, unbiased_distillation
from icss_core.methods.method import Method, StepContext

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.networks.segmenter import SegmenterOutput
    from icss_core.sampling import Batch
    from icss_core.training import Objective


class IcssParameters(BaseModel):
    """Numbers of the default objective."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    distillation: float = Field(default=1.0, ge=0)
    """Weight of MiB's unbiased distillation on every pixel of the crops."""
    cap: int = Field(default=16, ge=1)
    """Labelled pixels of a class in a batch from which its vote in the cross-entropy is full."""


def _objective(parameters: IcssParameters, _: StepContext) -> Objective:
    def loss(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        if batch.memory_logits is None:
            raise AssertionError("the step gave no memory logits although the method needs them")
        return {
            "cross_entropy": class_balanced_cross_entropy(output.logits, batch.labels, cap=parameters.cap),
            "distillation": parameters.distillation
            * unbiased_distillation(output.logits, batch.memory_logits.float()),
        }

    return loss


ICSS = Method(
    name="icss",
    summary="head fitted to the clicks, class-balanced cross-entropy, unbiased distillation on whole crops",
    source="our own; distillation from Cermelli et al., Modeling the Background (MiB), Eqs. 7-9",
    parameters=IcssParameters,
    objective=_objective,
    needs_memory_logits=True,
)
