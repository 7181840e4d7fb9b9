"""`continual`: new classes learnt from scenes on top of a version that knows others (MiB and its rivals)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from icss_core.continual import class_prototypes, first_task_of, task_objective, weight_anchor_of
from icss_core.continual.prototype_replay import (
    STATISTICS_ARTEFACT,
    FeatureStatistics,
    PrototypeReplay,
    feature_statistics,
)
from icss_core.data.scene_request import SceneRequest
from icss_core.errors import InvalidParameterError
from icss_core.labels import BACKGROUND, IGNORE
from icss_core.learners.kind import LearnerKind, LearnerParameters
from icss_core.losses.prototypes import PROTOTYPES_ARTEFACT, Prototypes
from icss_core.methods import DensePreset, needs_of
from icss_core.methods.registry import misfit
from icss_core.regularisation.importance import IMPORTANCES_ARTEFACT, flat_importances, importances_of
from icss_core.regularisation.weight_fusion import fuse_weights, fusion_share
from icss_core.training import SegmentationLearner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.data.labelled_scene import LabelledScene
    from icss_core.learners.kind import LearnerContext
    from icss_core.networks.model_folder import ModelCard
    from icss_core.networks.segmenter import Segmenter, SegmenterOutput
    from icss_core.regularisation.weight_anchor import WeightAnchor
    from icss_core.training import Objective


class ContinualParameters(LearnerParameters):
    """A method. Its crops, batch and optimisation are not used: those of the training's configuration are."""

    preset: DensePreset

    @property
    def method(self) -> str:
        """See `LearnerParameters`."""
        return self.preset.method

    @property
    def preset_name(self) -> str:
        """See `LearnerParameters`."""
        return self.preset.name

    def check(self, *, card: ModelCard, crop: int) -> None:
        """See `LearnerParameters`."""
        reason = misfit(self.preset, architecture=card.architecture, crop=crop)
        if reason is not None:
            raise InvalidParameterError(reason)


class ContinualLearner(SegmentationLearner):
    """A task on scenes; keeps with its version what the method needs in the next task."""

    def __init__(
        self,
        network: Segmenter,
        objective: Objective,
        batches: Callable[[int], Batch],
        *,
        anchor: WeightAnchor | None,
        prototypes: Callable[[], Prototypes] | None,
        fused_with: Segmenter | None,
        statistics: Callable[[], FeatureStatistics] | None = None,
        replay: PrototypeReplay | None = None,
    ) -> None:
        super().__init__(network, objective, batches, anchor=anchor)
        self._prototypes, self._statistics = prototypes, statistics
        self._fused_with, self._replay = fused_with, replay

    def begin(self, iteration: int) -> None:
        """See `Learner`: features of old classes are drawn, where the method replays them."""
        if self._replay is not None:
            self._replay.draw(iteration)

    def objective(self, outputs: SegmenterOutput, batch: Batch) -> Mapping[str, Tensor]:
        """See `Learner`: the classifier is shown the drawn features too."""
        terms = super().objective(outputs, batch)
        if self._replay is None:
            return terms
        return {**terms, "replay": self._replay.term(self.network.classifier)}

    def end(self) -> None:
        """See `Learner`: the weights are averaged with the older ones, where the method does that."""
        if self._fused_with is not None:
            n_old = self._fused_with.n_classes
            share = fusion_share(n_old, self.network.n_classes - n_old)
            fuse_weights(self.network, self._fused_with, share=share)

    def artefacts(self) -> Mapping[str, Mapping[str, Tensor]]:
        """See `Learner`: how much weights mattered, and class means, where the method has them."""
        kept: dict[str, Mapping[str, Tensor]] = {}
        if self._anchor is not None:
            weights = {name: one.detach() for name, one in self.network.named_parameters()}
            kept[IMPORTANCES_ARTEFACT] = flat_importances(self._anchor.gatherer.result(weights))
        if self._prototypes is not None:
            kept[PROTOTYPES_ARTEFACT] = self._prototypes()._asdict()
        if self._statistics is not None:
            kept[STATISTICS_ARTEFACT] = self._statistics()._asdict()
        return kept


def _build(parameters: ContinualParameters, context: LearnerContext) -> ContinualLearner:
    before = None if context.memory is None else context.memory.network
    preset = parameters.preset.model_copy(update={"optimisation": context.optimisation})
    if before is None:
        preset, network = first_task_of(preset), context.new_network()
    else:
        generator = torch.Generator().manual_seed(context.seed)
        n_new = context.card.architecture.n_classes - before.n_classes
        network = before.extend(n_new, init=preset.head_init, generator=generator)
    if preset.replay is not None and network.hypercolumn is not None:
        raise InvalidParameterError(
            "replay shows drawn features to the classifier alone; this network has a head over all levels too"
        )
    scenes = context.scenes(_scenes_wanted(preset, context))
    objective = task_objective(
        preset,
        n_classes=network.n_classes,
        memory=before,
        device=context.device,
        iterations=context.optimisation.iterations,
        seed=context.seed,
        artefact=context.artefact,
        scenes=scenes,
        crop=context.crop,
    )
    anchor = weight_anchor_of(
        preset,
        network,
        memory=before,
        importances=importances_of(context.artefact(IMPORTANCES_ARTEFACT) or {}),
    )
    return ContinualLearner(
        network,
        objective,
        context.crops(scenes),
        anchor=anchor,
        prototypes=_prototypes_of(network, scenes, context) if preset.prototypes else None,
        fused_with=before if preset.fusion else None,
        statistics=None if preset.replay is None else _statistics_of(network, scenes, context),
        replay=_replay_of(context, preset.replay) if preset.replay else None,
    )


def _scenes_wanted(preset: DensePreset, context: LearnerContext) -> SceneRequest:
    names = context.card.label_space.names
    n_old = 1 if context.memory is None else context.memory.network.n_classes
    needs = needs_of(preset)
    return SceneRequest(
        hidden=() if preset.labels == "all" else tuple(names[1:n_old]),
        other_label=IGNORE if preset.other_classes == "ignored" else BACKGROUND,
        image_labels=any(need.image_labels for need in needs),
        background=preset.background,
        maps=tuple(sorted(need.map_name for need in needs if need.map_name is not None)),
    )


def _prototypes_of(
    network: Segmenter, scenes: Sequence[LabelledScene], context: LearnerContext
) -> Callable[[], Prototypes]:
    kept = context.artefact(PROTOTYPES_ARTEFACT)
    return lambda: class_prototypes(
        network,
        scenes,
        size=context.crop,
        device=context.device,
        previous=None if kept is None else Prototypes(**kept),
        precision=context.optimisation.precision,
    )


def _kept_statistics(context: LearnerContext) -> FeatureStatistics | None:
    kept = context.artefact(STATISTICS_ARTEFACT)
    return None if kept is None else FeatureStatistics(**kept)


def _statistics_of(
    network: Segmenter, scenes: Sequence[LabelledScene], context: LearnerContext
) -> Callable[[], FeatureStatistics]:
    previous = _kept_statistics(context)
    return lambda: feature_statistics(
        network,
        scenes,
        size=context.crop,
        device=context.device,
        previous=previous,
        precision=context.optimisation.precision,
    )


def _replay_of(context: LearnerContext, weight: float) -> PrototypeReplay:
    kept = _kept_statistics(context)
    if kept is None or not kept.counts.any():
        raise InvalidParameterError(
            "the method draws features of the old classes, but the version before keeps no statistics of them"
        )
    return PrototypeReplay(kept, weight=weight, seed=context.seed)


CONTINUAL = LearnerKind(
    name="continual",
    summary="classes of a task on top of those of a registered version",
    parameters=ContinualParameters,
    build=_build,
)
