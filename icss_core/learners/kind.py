"""A kind of training: its parameters, and how its learner is built from the context of a training job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch
    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.data.labelled_scene import LabelledScene
    from icss_core.data.scene_request import SceneRequest
    from icss_core.networks.model_folder import ModelCard
    from icss_core.networks.segmenter import Segmenter
    from icss_core.training import Learner, Optimisation


class LearnerParameters(BaseModel):
    """Numbers of a kind of training; subclasses add theirs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def method(self) -> str:
        """Name of the method in tables."""
        return "pretraining"

    @property
    def preset_name(self) -> str:
        """Name of the preset that the numbers come from."""
        return "pretraining"

    def check(self, *, card: ModelCard, crop: int) -> None:
        """Refuse parameters that do not fit the network or its crops, before anything is trained.

        Args:
            card: of the network to be made.
            crop: side of the crops, in pixels.

        Raises:
            InvalidParameterError: the message says what does not fit.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryVersion:
    """The registered version that a training starts from."""

    network: Segmenter
    """On the training's device, in eval mode."""
    artefact: Callable[[str], Mapping[str, Tensor] | None]
    """Tensors that the version keeps under a name; None where it keeps none."""


class CropsOf(Protocol):
    """Makes a stream of batches of crops."""

    def __call__(
        self, scenes: Sequence[LabelledScene], *, batch: int | None = None, stream: int = 0
    ) -> Callable[[int], Batch]:
        """The batch of an iteration, a pure function of it.

        Args:
            scenes: to take crops from.
            batch: crops in a batch; None: as configured.
            stream: number of the stream; streams of one training see different crops.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerContext:
    """What a training job gives to its learner; the same on every worker and at every start of the job."""

    card: ModelCard
    """Of the network to be made."""
    memory: MemoryVersion | None
    """None: the training starts from new weights."""
    scenes: Callable[[SceneRequest], Sequence[LabelledScene]]
    """The training scenes."""
    crops: CropsOf
    crop: int
    """Side of the crops, in pixels."""
    optimisation: Optimisation
    device: torch.device
    seed: int
    new_network: Callable[[], Segmenter]
    """Builds the card's network with new weights, on the device."""

    def artefact(self, name: str) -> Mapping[str, Tensor] | None:
        """Tensors that the version before keeps under a name; None if there is none, or it keeps none."""
        return None if self.memory is None else self.memory.artefact(name)


Parameters = TypeVar("Parameters", bound=LearnerParameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerKind(Generic[Parameters]):
    """A kind of training by name."""

    name: str
    summary: str
    parameters: type[Parameters]
    build: Callable[[Parameters, LearnerContext], Learner[Any, Any]]
