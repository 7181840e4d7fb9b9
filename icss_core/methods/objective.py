"""The loss of one batch of a step: cross-entropy on its labels plus the preset's regularisers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from icss_core.errors import InvalidParameterError
from icss_core.labels import BACKGROUND, IGNORE
from icss_core.losses import (
    class_balanced_cross_entropy,
    complete_background,
    completed_cross_entropy,
    partial_cross_entropy,
    sigmoid_cross_entropy,
    unbiased_cross_entropy,
)
from icss_core.methods.registry import regularisers_of
from icss_core.methods.regulariser import provided

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.methods.method import CrossEntropyRule, Method
    from icss_core.methods.regulariser import Need, TaskContext
    from icss_core.networks.segmenter import SegmenterOutput
    from icss_core.training import Objective


def needs_of(method: Method) -> frozenset[Need]:
    """What its loss wants to know of the memory network."""
    own: frozenset[Need] = frozenset()
    if method.cross_entropy.kind == "completed":
        own = frozenset({"memory_logits", "thresholds"})
    return own.union(*(regulariser.needs for regulariser, _ in regularisers_of(method)))


def build_objective(method: Method, context: TaskContext) -> Objective:
    """The loss of one batch of a step.

    Raises:
        InvalidParameterError: nothing is left of the method: no cross-entropy and no regulariser.
    """
    penalties = [
        (parameters.weight, regulariser.build(parameters, context))
        for regulariser, parameters in regularisers_of(method)
    ]

    rule = method.cross_entropy
    if not rule.weight and not penalties:
        raise InvalidParameterError(
            f"{method.name!r} has nothing to learn here: a cross-entropy of weight 0 and no regulariser"
        )

    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        found = {}
        if rule.weight:
            value = _cross_entropy(rule, context, output.logits, batch)
            found["cross_entropy"] = rule.weight * value if rule.weight != 1 else value
        for weight, penalty in penalties:
            more = {name: weight * value for name, value in penalty(output, batch).items()}
            if found.keys() & more.keys():
                raise AssertionError(f"two regularisers call a term {sorted(found.keys() & more.keys())}")
            found |= more
        return found

    return terms


def _cross_entropy(rule: CrossEntropyRule, context: TaskContext, logits: Tensor, batch: Batch) -> Tensor:
    labels = batch.labels
    if rule.unlabelled == "background":
        labels = torch.where(labels == IGNORE, BACKGROUND, labels)
    match rule.kind:
        case "balanced":
            return class_balanced_cross_entropy(logits, labels, cap=rule.cap)
        case "unbiased":
            return unbiased_cross_entropy(logits, labels, n_old=context.n_old, over=rule.over)
        case "sigmoid":
            return sigmoid_cross_entropy(logits, labels, over=rule.over)
        case "completed":
            memory = provided(batch.memory_logits, "memory_logits")
            thresholds = provided(context.thresholds, "thresholds")
            completed = complete_background(labels, memory, thresholds, n_classes=context.n_classes)
            return completed_cross_entropy(logits, completed)
        case "mean":
            mean = partial_cross_entropy(logits, labels)
            if rule.over == "labelled":
                return mean
            return mean * ((labels != IGNORE).sum() / labels.numel())
