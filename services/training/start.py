"""What a training starts from: a network, its loss, and what holds its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from icss_core.continual import dense_objective, entropy_thresholds, weight_anchor_of
from icss_core.methods import needs_of
from icss_core.networks.model_folder import load_importances, load_model, load_prototypes
from icss_core.networks.segmenter import Segmenter
from icss_core.training import cross_entropy_objective
from services.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.data.labelled_scene import LabelledScene
    from icss_core.losses import Prototypes
    from icss_core.methods import DensePreset
    from icss_core.regularisation.weight_anchor import WeightAnchor
    from icss_core.training import Objective
    from services.settings import Settings
    from services.training.config import TrainingConfig
    from services.training.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The beginning of a training; the same on every worker and at every start of the job."""

    network: Segmenter
    objective: Objective
    anchor: WeightAnchor | None = None
    prototypes: Prototypes | None = None
    """Class means that the version before keeps."""


def prepare_start(
    plan: Plan, scenes: Sequence[LabelledScene], *, settings: Settings, device: torch.device
) -> Start:
    """The network that a plan describes, on its device, and what it is to learn.

    Args:
        plan: of the job.
        scenes: the training scenes.
        settings: where the version before is registered.
        device: of this worker.

    Raises:
        IcssError: the version before cannot be had, or its training lacks what the method needs.
    """
    config, step = plan.config, plan.config.step
    torch.manual_seed(config.seed)
    if step is None:
        return Start(network=_fresh(plan, device), objective=cross_entropy_objective)
    memory, importances, prototypes = None, {}, None
    if step.memory is None:
        network = _fresh(plan, device)
    else:
        folder = Registry(settings).fetch(config.model, step.memory)
        memory, _ = load_model(folder)
        importances, prototypes = load_importances(folder), load_prototypes(folder)
        generator = torch.Generator().manual_seed(config.seed)
        network = memory.extend(step.new, init=step.preset.head_init, generator=generator)
        network = _placed(network, device)
        memory = _placed(memory, device)
    thresholds = None
    if memory is not None and "thresholds" in needs_of(step.preset):
        thresholds = entropy_thresholds(
            memory,
            scenes,
            n_classes=network.n_classes,
            size=config.crop,
            device=device,
            precision=config.optimisation.precision,
        )
    objective = dense_objective(
        _as_trained(config),
        n_classes=network.n_classes,
        memory=memory,
        device=device,
        iterations=config.optimisation.iterations,
        seed=config.seed,
        thresholds=thresholds,
        prototypes=prototypes,
    )
    anchor = weight_anchor_of(step.preset, network, memory=memory, importances=importances)
    return Start(network=network, objective=objective, anchor=anchor, prototypes=prototypes)


def _as_trained(config: TrainingConfig) -> DensePreset:
    """The step's preset with the optimisation that counts, the configuration's."""
    assert config.step is not None  # noqa: S101 - asked for steps only
    return config.step.preset.model_copy(update={"optimisation": config.optimisation})


def _fresh(plan: Plan, device: torch.device) -> Segmenter:
    return _placed(Segmenter(plan.card.architecture, plan.card.normalisation), device)


def _placed(network: Segmenter, device: torch.device) -> Segmenter:
    # before a wrapper for data parallelism, which remembers how gradients lie in memory
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
