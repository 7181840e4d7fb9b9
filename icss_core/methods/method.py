"""What a method is: a name, numbers, and the objective of one batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from icss_core.losses import Prototypes
    from icss_core.training import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """What is known of a step before its first iteration."""

    n_old: int
    """Classes of the memory network, background included."""
    n_classes: int
    """Classes of the updated network."""
    prototypes: Prototypes | None = None
    """Class means (N, C) of the memory network's deepest features, if the method asked for them."""


Parameters = TypeVar("Parameters", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method(Generic[Parameters]):
    """A recipe for one step. Adding one takes a file beside the others and a line in the registry."""

    name: str
    summary: str
    source: str
    """Paper the method comes from."""
    parameters: type[Parameters]
    """Its own numbers with defaults and bounds."""
    objective: Callable[[Parameters, StepContext], Objective]
    """Builds the loss of one batch; all state of a step lives in what this returns."""
    needs_memory_logits: bool = False
    """Batches carry the memory network's logits."""
    needs_prototypes: bool = False
    """The context carries the memory network's prototypes."""
