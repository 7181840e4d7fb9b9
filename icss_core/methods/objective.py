"""The loss of one batch of a step: cross-entropy on its labels plus the preset's regularisers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.losses import class_balanced_cross_entropy, partial_cross_entropy
from icss_core.methods.registry import regularisers_of

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.methods.preset import CrossEntropyRule, Preset
    from icss_core.methods.regulariser import Need, StepContext
    from icss_core.networks.segmenter import SegmenterOutput
    from icss_core.sampling import Batch
    from icss_core.training import Objective


def needs_of(preset: Preset) -> frozenset[Need]:
    """What its regularisers want to know of the memory network."""
    return frozenset().union(*(regulariser.needs for regulariser, _ in regularisers_of(preset)))


def build_objective(preset: Preset, context: StepContext) -> Objective:
    """The loss of one batch of a step."""
    penalties = [
        (parameters.weight, regulariser.build(parameters, context))
        for regulariser, parameters in regularisers_of(preset)
    ]

    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        found = {"cross_entropy": _cross_entropy(preset.cross_entropy, output.logits, batch.labels)}
        for weight, penalty in penalties:
            more = {name: weight * value for name, value in penalty(output, batch).items()}
            if found.keys() & more.keys():
                raise AssertionError(f"two regularisers call a term {sorted(found.keys() & more.keys())}")
            found |= more
        return found

    return terms


def _cross_entropy(rule: CrossEntropyRule, logits: Tensor, labels: Tensor) -> Tensor:
    if rule.kind == "balanced":
        return class_balanced_cross_entropy(logits, labels, cap=rule.cap)
    return partial_cross_entropy(logits, labels)
