"""What a method wants to know besides pixels and labels of a batch, and how a task comes by it.

A need carries its own providers: one for tasks on the scenes of a data set, one for updates from clicks on an
image. A method states its needs; the code around it asks the providers and knows none of them by name.
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
"""What is known of each batch's crops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneTask:
    """A task on the scenes of a data set, as far as a need may look at it."""

    n_classes: int
    """After the task."""
    memory: Segmenter | None
    """The network before the task; None in the first."""
    memory_output: Callable[[Batch], SegmenterOutput] | None
    """What the memory network says of a batch, computed once for all who ask."""
    artefact: Callable[[str], Mapping[str, Tensor] | None]
    """Tensors that the version before keeps under a name."""
    scenes: Sequence[LabelledScene]
    crop: int
    """Side of the windows in which scenes are looked at, in pixels."""
    device: torch.device
    precision: Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickTask:
    """An update from clicks, as far as a need may look at it."""

    memory_output: Callable[[Batch], SegmenterOutput]
    memory_features: OfBatch
    prototypes: Prototypes | None
    """Class means of the memory network's features at the labelled pixels."""


@dataclass(frozen=True, kw_only=True)
class Need(Generic[Value]):
    """One thing that a method may want to know."""

    name: str
    description: str
    """Completes "... learns from"; part of error messages."""
    of_memory: bool = True
    """Whether there is none without a memory network: a first task leaves out what needs it."""
    map_name: str | None = None
    """Name of a map that each scene must come with beside its image, where that is what is needed."""
    image_labels: bool = False
    """Whether each scene must say which classes it may show."""
    from_scenes: Callable[[SceneTask], Value] | None = field(default=None, compare=False)
    """None: scenes cannot provide it."""
    from_clicks: Callable[[ClickTask], Value] | None = field(default=None, compare=False)
    """None: clicks on an image cannot provide it."""
    missing_in: Callable[[Method], str | None] = field(default=lambda _: None, compare=False)
    """Why tasks on scenes with this method cannot provide it, if so."""

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
    """Reads what a sampler put beside the pixels of a batch, under a name."""
    return lambda batch: batch.named(name)


def _checked(
    need: Need[Any], provider: Callable[[Any], Any] | None
) -> Callable[[SceneTask | ClickTask], Any]:
    if provider is None:
        raise InvalidParameterError(f"{need.description} cannot be had here")
    return provider
