"""The loss of a dense step: a method's terms, with the memory network asked about every batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from icss_core.continual.class_prototypes import grown
from icss_core.errors import InvalidParameterError
from icss_core.methods import TaskContext, build_objective, needs_of, regularisers_of
from icss_core.methods.method import CrossEntropyRule
from icss_core.regularisation.weight_anchor import WeightAnchor
from icss_core.training.online_memory import OnlineMemory

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.losses import Prototypes
    from icss_core.methods import DensePreset
    from icss_core.networks.segmenter import Segmenter, SegmenterOutput
    from icss_core.training import Objective

FIRST_TASK: Final = "first-step"
_WITHOUT_MEMORY: Final = frozenset({"possible", "objectness"})
"""What a step needs and has even if it is the first."""


def first_task_of(preset: DensePreset) -> DensePreset:
    """What is left of a preset where there is no memory network.

    Presets that differ in later steps only have equal first steps, whose network is then trained once.
    """
    kept = {
        regulariser.name: preset.regularisers[regulariser.name]
        for regulariser, _ in regularisers_of(preset)
        if regulariser.needs <= _WITHOUT_MEMORY
    }
    changes: dict[str, object] = {
        "regularisers": kept,
        "optimisation": preset.optimisation.model_copy(
            update={
                "lr": preset.first_lr,
                "iterations": preset.first_iterations or preset.optimisation.iterations,
            }
        ),
        "first_iterations": None,
        "name": FIRST_TASK,
        "method": FIRST_TASK,
        "summary": "",
        "head_init": "random",
        "labels": "step",
    }
    if preset.cross_entropy.kind in ("completed", "unbiased"):
        # with the background alone before it, the unbiased cross-entropy is the plain one
        over = preset.cross_entropy.over if preset.cross_entropy.kind == "unbiased" else "all"
        changes["cross_entropy"] = CrossEntropyRule(kind="mean", over=over)
    if preset.anchor is not None:
        changes["anchor"] = preset.anchor.model_copy(update={"weight": 0.0})
    return preset.model_copy(update=changes)


def dense_objective(
    preset: DensePreset,
    *,
    n_classes: int,
    memory: Segmenter | None,
    device: torch.device,
    iterations: int,
    seed: int = 0,
    thresholds: Tensor | None = None,
    prototypes: Prototypes | None = None,
) -> Objective:
    """The loss of one batch.

    Args:
        preset: the method with its numbers.
        n_classes: after the step.
        memory: the network before it; None in the first step.
        device: where batches are.
        iterations: of the step.
        seed: of everything random.
        thresholds: of its entropies, where the method needs them.
        prototypes: of its classes, (O, C), likewise.

    Raises:
        InvalidParameterError: the memory network has all the classes already, or the method needs class means
            that its version does not keep.
    """
    if memory is None:
        first = first_task_of(preset)
        return build_objective(first, TaskContext(n_classes=n_classes, n_old=1, seed=seed))
    if memory.n_classes >= n_classes:
        raise InvalidParameterError(
            f"the memory network knows {memory.n_classes} classes; a step to {n_classes} adds none"
        )
    needs = needs_of(preset)
    if "prototypes" in needs and prototypes is None:
        raise InvalidParameterError(
            f"{preset.name!r} needs the class means of the version before, whose training kept none"
        )
    online = OnlineMemory(
        memory,
        device=device,
        precision=preset.optimisation.precision,
        with_levels="memory_output" in needs,
    )
    context = TaskContext(
        n_classes=n_classes,
        n_old=memory.n_classes,
        seed=seed,
        iterations=max(iterations, 1),
        memory_features=lambda batch: online(batch).features,
        memory_output=online,
        thresholds=None if thresholds is None else thresholds.to(device),
        prototypes=None if prototypes is None else grown(prototypes, n_classes),
    )
    objective = build_objective(preset, context)
    if not needs & {"memory_logits", "memory_labels"}:
        return objective

    def terms(output: SegmenterOutput, batch: Batch) -> Mapping[str, Tensor]:
        logits = online(batch).logits
        return objective(output, replace(batch, memory_logits=logits, memory_labels=logits.argmax(dim=1)))

    return terms


def weight_anchor_of(
    preset: DensePreset,
    network: Segmenter,
    *,
    memory: Segmenter | None,
    importances: Mapping[str, Mapping[str, Tensor]],
) -> WeightAnchor | None:
    """What holds the network's weights, and gathers for the step after; None where the method has none.

    Args:
        preset: the method with its numbers.
        network: as the step starts, on its device.
        memory: the network before the step; None in the first.
        importances: what the memory network's version keeps.

    Raises:
        InvalidParameterError: the memory network's training gathered nothing for this method.
    """
    rule = preset.anchor
    if rule is None:
        return None
    anchors = {} if memory is None else {name: one.detach() for name, one in memory.named_parameters()}
    return WeightAnchor(
        rule.kind,
        weight=rule.weight,
        anchors=anchors,
        importances=importances,
        start=dict(network.named_parameters()),
        normalise=rule.normalise,
        decay=rule.decay,
        every=rule.every,
    )
