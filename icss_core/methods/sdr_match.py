"""`sdr-match`: where the memory network predicts an old class, keeps features near the stored mean of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from icss_core.labels import BACKGROUND, IGNORE
from icss_core.losses.prototypes import Assignment, Prototypes, class_means, labelled_features
from icss_core.losses.sdr import matching
from icss_core.methods.memory_needs import MEMORY_LABELS, PROTOTYPES
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


class SdrMatchParameters(RegulariserParameters):
    """How labelled pixels read features; SDR itself reduces labels to their grid by nearest neighbour."""

    assignment: Assignment = "pooled"


def _penalty(parameters: SdrMatchParameters, context: TaskContext) -> Penalty:
    memory, memory_labels = context.of(PROTOTYPES), context.of(MEMORY_LABELS)

    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        seen = memory_labels(batch)
        device = output.features.device
        # the task's masks call old classes background
        old = (batch.labels == BACKGROUND) & (seen != BACKGROUND)
        located = torch.where(old, seen, IGNORE)
        samples = labelled_features(output.features, located, assignment=parameters.assignment)
        current = class_means(samples, n_classes=len(memory.means))
        return {"sdr_match": matching(current, Prototypes(memory.means.to(device), memory.counts.to(device)))}

    return terms


SDR_MATCH = Regulariser(
    name="sdr-match",
    summary="features of old classes stay at the class means kept from earlier tasks",
    source="Michieli and Zanuttigh, SDR, arXiv 2103.06342, Eq. 4",
    parameters=SdrMatchParameters,
    build=_penalty,
    needs=frozenset({PROTOTYPES, MEMORY_LABELS}),
)
