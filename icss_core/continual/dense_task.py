"""The loss of a task on scenes: the terms of a method; the memory network runs on every batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from icss_core.errors import InvalidParameterError
from icss_core.methods import (
    CROSS_ENTROPIES,
    CrossEntropyRule,
    SceneTask,
    TaskContext,
    build_objective,
    needs_of,
    provide_from_scenes,
    regularisers_of,
)
from icss_core.regularisation.weight_anchor import WeightAnchor
from icss_core.training.online_memory import OnlineMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch
    from torch import Tensor

    from icss_core.data.labelled_scene import LabelledScene
    from icss_core.methods import DensePreset
    from icss_core.networks.segmenter import Segmenter
    from icss_core.training import Objective

FIRST_TASK: Final = "first-task"
"""Name and method of every preset of a first task."""


def first_task_of(preset: DensePreset) -> DensePreset:
    """The preset of the first task, which has no memory network: without all terms that need one.

    Presets that differ only in what they do in later tasks have equal first tasks, which are trained once.
    The result is its own first task.
    """
    kept = {
        regulariser.name: preset.regularisers[regulariser.name]
        for regulariser, _ in regularisers_of(preset)
        if not any(need.of_memory for need in regulariser.needs)
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
        "labels": "task",
        "fusion": None,
    }
    kind = CROSS_ENTROPIES[preset.cross_entropy.kind]
    if kind.without_memory is not None:
        over = preset.cross_entropy.over if kind.keeps_over else "all"
        changes["cross_entropy"] = CrossEntropyRule(kind=kind.without_memory, over=over)
    if preset.replay is not None:
        changes["replay"] = 0.0  # statistics are kept all the same
    if preset.anchor is not None:
        changes["anchor"] = preset.anchor.model_copy(update={"weight": 0.0})
    return preset.model_copy(update=changes)


def task_objective(
    preset: DensePreset,
    *,
    n_classes: int,
    memory: Segmenter | None,
    device: torch.device,
    iterations: int,
    seed: int = 0,
    artefact: Callable[[str], Mapping[str, Tensor] | None] = lambda _: None,
    scenes: Sequence[LabelledScene] = (),
    crop: int | None = None,
) -> Objective:
    """The loss of one batch.

    Args:
        preset: the method with its numbers.
        n_classes: number of classes after the task.
        memory: the network before the task; None in the first task.
        device: where batches are.
        iterations: number of iterations of the task.
        seed: decides everything random.
        artefact: gives the tensors that the memory network's version keeps under a name; None: it keeps none.
        scenes: scenes of the task, for methods that read them before the first iteration.
        crop: side of the windows that such methods read, in pixels; None: that of the preset.

    Raises:
        InvalidParameterError: the memory network has all classes already, or the method needs tensors that
            its version does not keep.
    """
    if memory is None:
        preset = first_task_of(preset)
    elif memory.n_classes >= n_classes:
        raise InvalidParameterError(
            f"the memory network knows {memory.n_classes} classes; a task of {n_classes} adds none"
        )
    precision = preset.optimisation.precision
    task = SceneTask(
        n_classes=n_classes,
        memory=memory,
        memory_output=None
        if memory is None
        else OnlineMemory(memory, device=device, precision=precision, with_levels=True),
        artefact=artefact,
        scenes=scenes,
        crop=crop or preset.crop,
        device=device,
        precision=precision,
    )
    context = TaskContext(
        n_classes=n_classes,
        n_old=1 if memory is None else memory.n_classes,
        seed=seed,
        iterations=max(iterations, 1),
        provided=provide_from_scenes(needs_of(preset), task),
    )
    return build_objective(preset, context)


def weight_anchor_of(
    preset: DensePreset,
    network: Segmenter,
    *,
    memory: Segmenter | None,
    importances: Mapping[str, Mapping[str, Tensor]],
) -> WeightAnchor | None:
    """The weight anchor of a task, which also gathers importances for the next; None if the preset has none.

    Args:
        preset: the method with its numbers.
        network: the network at the start of the task, on its device.
        memory: the network before the task; None in the first.
        importances: those that the memory network's version keeps, by part and weight.

    Raises:
        InvalidParameterError: the memory network's version keeps no importances for this method.
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
