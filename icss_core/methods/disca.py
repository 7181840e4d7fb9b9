"""`disca`: cross-entropy with the memory network's map of the old classes of interest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.losses import memory_label_cross_entropy
from icss_core.methods.memory_needs import MEMORY_LABELS
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


class DiscaParameters(RegulariserParameters):
    """Numbers of DISCA."""

    decay: bool = False
    """Divide by the number of the round, 1, 2, ... (ICSS's code; its paper does not)."""


def _penalty(parameters: DiscaParameters, context: TaskContext) -> Penalty:
    memory_labels = context.of(MEMORY_LABELS)

    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        labels = memory_labels(batch)
        value = memory_label_cross_entropy(output.logits, labels)
        return {"disca": value / (context.round_of(batch.iteration) if parameters.decay else 1)}

    return terms


DISCA = Regulariser(
    name="disca",
    summary="cross-entropy with the memory network's map where it shows a class of interest",
    source="Lenczner et al., DISCA, as used by ICSS (background left out)",
    parameters=DiscaParameters,
    build=_penalty,
    needs=frozenset({MEMORY_LABELS}),
)
