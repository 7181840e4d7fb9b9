"""Regularisers: a name, parameters, needs, and the terms that they add to the loss of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from icss_core.data.batch import Batch
from icss_core.networks.segmenter import SegmenterOutput

if TYPE_CHECKING:
    from icss_core.methods.need import Need

Penalty: TypeAlias = Callable[[SegmenterOutput, Batch], Mapping[str, Tensor]]
"""The terms of a batch by name, each a scalar, before the regulariser's weight."""

Value = TypeVar("Value")


class RegulariserParameters(BaseModel):
    """Numbers of a regulariser."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(default=1.0, ge=0)
    """Lambda: factor on all its terms; 0 leaves the regulariser out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """What a method's loss is built from: the facts of a task that are fixed before its first iteration."""

    n_classes: int
    """Classes of the updated network."""
    n_old: int
    """Classes of the memory network; 1, the background alone, where there is none."""
    seed: int = 0
    iterations: int = 1
    rounds: int = 1
    """Parts of the iterations (ICSS: 30, of 10 iterations in the paper, of 10 sweeps in the code)."""
    provided: Mapping[str, Any] = field(default_factory=dict)
    """Values of needs by name, as their own providers gave them (`icss_core.methods.need`)."""

    def of(self, need: Need[Value]) -> Value:
        """The value of a need.

        Raises:
            AssertionError: the task did not provide it although the method states it, a fault of the code.
        """
        if need.name not in self.provided:
            raise AssertionError(f"the task provided no {need.name} although the method needs it")
        value: Value = self.provided[need.name]
        return value

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
    """Makes the penalty of a task; all state of a task lives in what this returns."""
    needs: frozenset[Need[Any]] = field(default_factory=frozenset)
    misfit: Callable[[Parameters, int, int], str | None] = lambda *_: None
    """Called before a training with the parameters, the side of the crops and the stride of the deepest
    features; says what does not fit together, or None."""
