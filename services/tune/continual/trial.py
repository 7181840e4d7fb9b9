"""A trial of a continual sweep: a method and its numbers through all tasks of a protocol."""

from __future__ import annotations

from typing import Any

from services.continual.config import ProtocolRun
from services.tune.trial import Trial


class ContinualTrial(Trial):
    """A protocol's run, and where it belongs in the table."""

    run: ProtocolRun
    identity: str
    """Of `run` on its data; see `ProtocolRun.identity`."""
    groups: tuple[tuple[str, ...], ...]
    """Classes in the protocol's groups; the run may learn them all at once."""

    @property
    def trial_id(self) -> str:
        """Equal for equal runs on equal data."""
        return self.identity

    def decisive(self) -> dict[str, Any]:
        """What is recorded of the trial: all that must not change while it is worked on."""
        return {**super().decisive(), "run": self.run.decisive()}

    @property
    def title(self) -> str:
        """Name in messages and in MLflow."""
        return f"{super().title}; seed {self.seed}"

    @property
    def dataset_address(self) -> str:
        """Address of the dataset.yaml."""
        return self.run.dataset

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in the order in which they are learnt."""
        return tuple(name for group in self.groups for name in group)

    @property
    def rivals(self) -> str | None:
        """Trials of the same case; one that learns all classes at once has none."""
        return self.case if len(self.run.protocol.groups) == len(self.groups) else None
