"""Needs that the memory network, or what its version keeps, provides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from icss_core.errors import InvalidParameterError
from icss_core.losses.prototypes import PROTOTYPES_ARTEFACT, Prototypes
from icss_core.methods.need import Need, OfBatch, extra
from icss_core.methods.thresholds import entropy_thresholds

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.methods.method import Method
    from icss_core.methods.need import ClickTask, SceneTask
    from icss_core.networks.segmenter import SegmenterOutput


def _said(task: SceneTask) -> Callable[[Batch], SegmenterOutput]:
    if task.memory_output is None:
        raise InvalidParameterError("a first task has no memory network to ask")
    return task.memory_output


def _logits_of(task: SceneTask) -> OfBatch:
    said = _said(task)
    return lambda batch: said(batch).logits


def _labels_of(task: SceneTask) -> OfBatch:
    said = _said(task)
    return lambda batch: said(batch).logits.argmax(dim=1)


def _features_of(task: SceneTask) -> OfBatch:
    said = _said(task)
    return lambda batch: said(batch).features


def _thresholds_of(task: SceneTask) -> Tensor:
    if task.memory is None:
        raise InvalidParameterError("a first task has no memory network to ask")
    thresholds = entropy_thresholds(
        task.memory,
        task.scenes,
        n_classes=task.n_classes,
        size=task.crop,
        device=task.device,
        precision=task.precision,
    )
    return thresholds.to(task.device)


def _prototypes_of(task: SceneTask) -> Prototypes:
    kept = task.artefact(PROTOTYPES_ARTEFACT)
    if kept is None:
        raise InvalidParameterError(
            "the method needs the class means of the version before, whose training kept none"
        )
    return Prototypes(**kept).extended(task.n_classes)


def _clicked_prototypes(task: ClickTask) -> Prototypes:
    assert task.prototypes is not None  # noqa: S101 - an update computes them where they are needed
    return task.prototypes


def _keeps_no_prototypes(method: Method) -> str | None:
    if getattr(method, "prototypes", None):
        return None
    return "compares class means of the version before, which only presets with prototypes: true keep"


MEMORY_LOGITS: Final = Need[OfBatch](
    name="memory_logits",
    description="the memory network's logits (B, O, h, w)",
    from_scenes=_logits_of,
    from_clicks=lambda _: extra("memory_logits"),
)
MEMORY_LABELS: Final = Need[OfBatch](
    name="memory_labels",
    description="the memory network's class map (B, h, w), 255 = no data",
    from_scenes=_labels_of,
    from_clicks=lambda _: lambda batch: batch.named("memory_labels").long(),
)
MEMORY_FEATURES: Final = Need[OfBatch](
    name="memory_features",
    description="the memory network's deepest features (B, C, h, w)",
    from_scenes=_features_of,
    from_clicks=lambda task: task.memory_features,
)
MEMORY_OUTPUT: Final = Need["Callable[[Batch], SegmenterOutput]"](
    name="memory_output",
    description="the memory network's whole output, levels of its encoder included",
    from_scenes=_said,
    from_clicks=lambda task: task.memory_output,
)
PROTOTYPES: Final = Need[Prototypes](
    name="prototypes",
    description="class means of the memory network's deepest features",
    from_scenes=_prototypes_of,
    from_clicks=_clicked_prototypes,
    missing_in=_keeps_no_prototypes,
)
THRESHOLDS: Final = Need["Tensor"](
    name="thresholds",
    description="entropies (O,) below which the memory network is sure of a class",
    from_scenes=_thresholds_of,
)
