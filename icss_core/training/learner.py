"""The interface of a training: its networks, batches and loss, and what is kept of it.

The loop (`fit.Fit`), the Ray Train worker, checkpoints and registration use learners through this class only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import torch
    from torch import Tensor, nn

    from icss_core.networks.segmenter import Segmenter


class TrainingBatch(Protocol):
    """What the loop needs of a batch: `icss_core.data.batch.Batch`, or a pair of them from two streams."""

    def __len__(self) -> int:
        """Crops in it."""

    def to(self, device: torch.device) -> Self:
        """The batch on a device."""

    def pin(self) -> Self:
        """The batch in page-locked memory."""

    def parts(self, number: int) -> list[Self]:
        """The batch cut into at most `number` parts."""


Samples = TypeVar("Samples", bound=TrainingBatch)
Outputs = TypeVar("Outputs")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterGroup:
    """Parameters that share a learning rate."""

    parameters: Iterable[nn.Parameter]
    lr_factor: float = 1.0
    """Factor on the learning rate of the optimisation."""


class Learner(ABC, Generic[Samples, Outputs]):
    """One training. A kind of training is a subclass, which overrides at least the abstract methods.

    A training may be stopped after any iteration and go on in another process: there the learner is built
    anew from the same arguments, `modules()` get their weights back, then `load_state_dict` is called.
    """

    network: Segmenter
    """The network that is validated during the training and registered at its end."""

    leaves_gradients_out: bool = False
    """Whether some parameters get no gradient in some iterations, as in phases; this costs workers time."""

    @abstractmethod
    def batch(self, iteration: int) -> Samples:
        """The batch of an iteration, from 0: a pure function of it. Called in a background thread."""

    @abstractmethod
    def forward(self, batch: Samples) -> Outputs:
        """Run the networks on a batch, on its device; in the training's precision."""

    @abstractmethod
    def objective(self, outputs: Outputs, batch: Samples) -> Mapping[str, Tensor]:
        """Terms of the loss by name, float32 scalars, already weighted; their sum is minimised."""

    def modules(self) -> Mapping[str, nn.Module]:
        """All modules that learn, by name, including the network; without frozen networks."""
        return {"network": self.network}

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Every parameter that learns, once."""
        return [
            ParameterGroup(
                parameters=[
                    parameter
                    for module in self.modules().values()
                    for parameter in module.parameters()
                    if parameter.requires_grad
                ]
            )
        ]

    def begin(self, iteration: int) -> None:
        """Called before each iteration, counted from 0, also when a training resumes; phases switch here."""

    def after_backward(self) -> Mapping[str, Tensor]:
        """Called when all gradients are there, before they are used; may add to them. Gives terms to log."""
        return {}

    def end(self) -> None:
        """Called once, when the training is over, before the network is scored and registered."""

    def state_dict(self) -> dict[str, Any]:
        """What the learner remembers between iterations besides weights: tensors and plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""

    def artefacts(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Tensors that the finished version keeps beside its weights, by artefact and name."""
        return {}

    def documents(self) -> Mapping[str, Any]:
        """What there is to say of the finished network, as JSON values by name; for the job's run."""
        return {}
