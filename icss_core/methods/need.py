"""Needs: what a method uses besides the pixels and labels of a batch, and what provides it.

A need has a provider for tasks on the scenes of a data set and one for updates from clicks on an image. A
method states its needs; the code around it calls their providers and does not depend on any particular need.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from icss_core.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import torch
    from torch import Tensor

    from icss_core.compute.precision import Precision
    from icss_core.data.batch import Batch
    from icss_core.data.labelled_scene import LabelledScene
    from icss_core.losses.prototypes import Prototypes
    from icss_core.methods.method import Method
    from icss_core.networks.segmenter import Segmenter, SegmenterOutput

Value = TypeVar("Value")
OfBatch: TypeAlias = "Callable[[Batch], Tensor]"
"""Gives a tensor for the crops of each batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneTask:
    """What the providers of a need may use in a task on scenes."""

    n_classes: int
    """Number of classes after the task."""
    memory: Segmenter | None
    """The network before the task; None in the first."""
    memory_output: Callable[[Batch], SegmenterOutput] | None
    """Output of the memory network for a batch, computed once for all needs."""
    artefact: Callable[[str], Mapping[str, Tensor] | None]
    """Gives the tensors that the memory network's version keeps under a name; None: it keeps none."""
    scenes: Sequence[LabelledScene]
    crop: int
    """Side of the windows in which scenes are read, in pixels."""
    device: torch.device
    precision: Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickTask:
    """What the providers of a need may use in an update from clicks."""

    memory_output: Callable[[Batch], SegmenterOutput]
    memory_features: OfBatch
    prototypes: Prototypes | None
    """Class means of the memory network's features at the labelled pixels."""


@dataclass(frozen=True, kw_only=True)
class Need(Generic[Value]):
    """One input that a method may have besides pixels and labels."""

    name: str
    description: str
    """Completes "... learns from"; part of error messages."""
    of_memory: bool = True
    """Whether it needs a memory network; the first task, which has none, leaves out terms with such needs."""
    map_name: str | None = None
    """Name of the map that each scene must have, if the need is one; see `Scene.maps`."""
    image_labels: bool = False
    """Whether each scene must state which classes it may show."""
    from_scenes: Callable[[SceneTask], Value] | None = field(default=None, compare=False)
    """None: scenes cannot provide it."""
    from_clicks: Callable[[ClickTask], Value] | None = field(default=None, compare=False)
    """None: clicks on an image cannot provide it."""
    missing_in: Callable[[Method], str | None] = field(default=lambda _: None, compare=False)
    """Says why tasks on scenes with a given method cannot provide it; None: they can."""

    def __hash__(self) -> int:
        return hash(self.name)


def provide_from_scenes(needs: Iterable[Need[Any]], task: SceneTask) -> dict[str, Any]:
    """Values of needs by name, of a task on scenes.

    Raises:
        InvalidParameterError: the task cannot provide one; the message says which and why.
    """
    return {need.name: _checked(need, need.from_scenes)(task) for need in needs}


def provide_from_clicks(needs: Iterable[Need[Any]], task: ClickTask) -> dict[str, Any]:
    """Values of needs by name, of an update from clicks.

    Raises:
        InvalidParameterError: clicks cannot provide one; the message says which.
    """
    return {need.name: _checked(need, need.from_clicks)(task) for need in needs}


def extra(name: str) -> OfBatch:
    """Reads the extra of a batch (`Batch.extras`) that has this name."""
    return lambda batch: batch.named(name)


def _checked(
    need: Need[Any], provider: Callable[[Any], Any] | None
) -> Callable[[SceneTask | ClickTask], Any]:
    if provider is None:
        raise InvalidParameterError(f"{need.description} cannot be had here")
    return provider
