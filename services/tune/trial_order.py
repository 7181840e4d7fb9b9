"""A trial as Ray Tune hands it to a worker: a configuration, which must be plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Mapping

ORDER_KEY: Final = "order"
"""The key of the order in Tune's configuration of a trial."""


class TrialOrder(BaseModel):
    """What a worker must know to do a trial, and Tune's callbacks to name it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    """Of the sweep: a key of `SWEEP_KINDS`."""
    trial: str
    """The trial in JSON, as its kind reads it."""
    trial_id: str
    title: str
    run_id: str
    """Its MLflow run."""
    sweep: str
    """Identity of the sweep that asks for it."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Read from Tune's configuration of a trial."""
        return cls.model_validate(config[ORDER_KEY])
