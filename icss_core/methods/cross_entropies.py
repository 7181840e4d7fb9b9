"""The kinds of cross-entropy that a method may use for its labels, as a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch

from icss_core.labels import BACKGROUND, IGNORE
from icss_core.losses import (
    class_balanced_cross_entropy,
    complete_background,
    completed_cross_entropy,
    partial_cross_entropy,
    sigmoid_cross_entropy,
    unbiased_cross_entropy,
)
from icss_core.methods.memory_needs import MEMORY_LOGITS, THRESHOLDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.methods.method import CrossEntropyRule
    from icss_core.methods.need import Need
    from icss_core.methods.regulariser import TaskContext

LabelLoss: TypeAlias = "Callable[[Tensor, Tensor, Batch], Tensor]"
"""Scalar of logits (B, N, h, w), labels (B, h, w) and the batch they belong to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEntropy:
    """One kind of cross-entropy."""

    build: Callable[[CrossEntropyRule, TaskContext], LabelLoss]
    needs: frozenset[Need[Any]] = field(default_factory=frozenset)
    without_memory: str | None = None
    """Kind that replaces it in the first task, which has no memory network; None: itself."""
    keeps_over: bool = True
    """Whether the replacing kind takes its mean over the same pixels (True) or over all pixels (False)."""


def _balanced(rule: CrossEntropyRule, _: TaskContext) -> LabelLoss:
    return lambda logits, labels, _: class_balanced_cross_entropy(logits, labels, cap=rule.cap)


def _unbiased(rule: CrossEntropyRule, context: TaskContext) -> LabelLoss:
    return lambda logits, labels, _: unbiased_cross_entropy(
        logits, labels, n_old=context.n_old, over=rule.over
    )


def _sigmoid(rule: CrossEntropyRule, _: TaskContext) -> LabelLoss:
    return lambda logits, labels, _: sigmoid_cross_entropy(logits, labels, over=rule.over)


def _completed(_: CrossEntropyRule, context: TaskContext) -> LabelLoss:
    memory_logits, thresholds = context.of(MEMORY_LOGITS), context.of(THRESHOLDS)

    def loss(logits: Tensor, labels: Tensor, batch: Batch) -> Tensor:
        completed = complete_background(labels, memory_logits(batch), thresholds, n_classes=context.n_classes)
        return completed_cross_entropy(logits, completed)

    return loss


def _mean(rule: CrossEntropyRule, _: TaskContext) -> LabelLoss:
    def loss(logits: Tensor, labels: Tensor, _: Batch) -> Tensor:
        mean = partial_cross_entropy(logits, labels)
        if rule.over == "labelled":
            return mean
        return mean * ((labels != IGNORE).sum() / labels.numel())

    return loss


CROSS_ENTROPIES: Final[Mapping[str, CrossEntropy]] = MappingProxyType(
    {
        "mean": CrossEntropy(build=_mean),
        "balanced": CrossEntropy(build=_balanced),
        # if the background is the only old class, the unbiased cross-entropy equals the plain one
        "unbiased": CrossEntropy(build=_unbiased, without_memory="mean"),
        "sigmoid": CrossEntropy(build=_sigmoid),
        "completed": CrossEntropy(
            build=_completed,
            needs=frozenset({MEMORY_LOGITS, THRESHOLDS}),
            without_memory="mean",
            keeps_over=False,
        ),
    }
)
"""By `CrossEntropyRule.kind`."""


def label_loss(rule: CrossEntropyRule, context: TaskContext) -> LabelLoss:
    """The cross-entropy of a rule, before its weight."""
    loss = CROSS_ENTROPIES[rule.kind].build(rule, context)
    if rule.unlabelled == "ignored":
        return loss
    return lambda logits, labels, batch: loss(
        logits, torch.where(labels == IGNORE, BACKGROUND, labels), batch
    )
