"""What a regulariser is: a name, numbers, what it needs of the memory network, and its terms of one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from icss_core.data.batch import Batch
from icss_core.networks.segmenter import SegmenterOutput

if TYPE_CHECKING:
    from icss_core.losses import Prototypes

Need = Literal[
    "memory_logits",
    "memory_labels",
    "possible",
    "objectness",
    "memory_features",
    "memory_output",
    "prototypes",
    "thresholds",
]
"""What a step must provide: the first four in its batches, the others in its context."""

Penalty: TypeAlias = Callable[[SegmenterOutput, Batch], Mapping[str, Tensor]]
"""The terms of a batch by name, each a scalar, before the regulariser's weight."""


class RegulariserParameters(BaseModel):
    """Numbers of a regulariser."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(default=1.0, ge=0)
    """Lambda: factor on all its terms; 0 leaves the regulariser out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """What is known of a step before its first iteration."""

    n_classes: int
    """Classes of the updated network."""
    n_old: int
    """Classes of the memory network; 1, the background alone, where there is none."""
    seed: int = 0
    iterations: int = 1
    rounds: int = 1
    """Parts of the iterations (ICSS: 30, of 10 iterations in the paper, of 10 sweeps in the code)."""
    prototypes: Prototypes | None = None
    """Class means (N, C) of the memory network's deepest features."""
    memory_features: Callable[[Batch], Tensor] | None = None
    """The memory network's deepest features (B, C, h, w) of a batch's crops."""
    memory_output: Callable[[Batch], SegmenterOutput] | None = None
    """All it says of a batch's crops, levels of the encoder included."""
    thresholds: Tensor | None = None
    """(O,) entropies below which it is sure of a class (PLOP)."""

    def round_of(self, iteration: int) -> int:
        """Number of the round, from 1, that an iteration, from 0, belongs to."""
        return min(iteration * self.rounds // self.iterations, self.rounds - 1) + 1


Parameters = TypeVar("Parameters", bound=RegulariserParameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regulariser(Generic[Parameters]):
    """A term added to the cross-entropy. Adding one takes a file beside the others and a registry entry."""

    name: str
    summary: str
    source: str
    """Paper it comes from."""
    parameters: type[Parameters]
    """Its own numbers with defaults and bounds."""
    build: Callable[[Parameters, TaskContext], Penalty]
    """Makes the penalty of a step; all state of a step lives in what this returns."""
    needs: frozenset[Need] = field(default_factory=frozenset)


Value = TypeVar("Value")


def provided(value: Value | None, need: Need) -> Value:
    """The value, which the step must have provided because the regulariser says it needs it."""
    if value is None:
        raise AssertionError(f"the step gave no {need.replace('_', ' ')} although a regulariser needs it")
    return value
