"""A trial of a continual sweep: a method and its numbers through all tasks of a protocol."""

from __future__ import annotations

from typing import Any

from services.continual.config import ProtocolRun
from services.tune.trial import Trial


class ContinualTrial(Trial):
    """Everything that decides a trial's numbers, and a few things that do not."""

    run: ProtocolRun
    identity: str
    """Of `run` on its data; see `ProtocolRun.identity`."""
    groups: tuple[tuple[str, ...], ...]
    """Classes in the protocol's groups; the run may learn them all at once."""

    @property
    def trial_id(self) -> str:
        """The same for equal runs on equal data."""
        return self.identity

    def decisive(self) -> dict[str, Any]:
        """For the record: what cannot change when the trial goes on."""
        return {**super().decisive(), "run": self.run.decisive()}

    @property
    def title(self) -> str:
        """For people."""
        return f"{super().title}; seed {self.seed}"

    @property
    def dataset_address(self) -> str:
        """Of the dataset.yaml of its images."""
        return self.run.dataset

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order in which they are learnt."""
        return tuple(name for group in self.groups for name in group)

    @property
    def rivals(self) -> str | None:
        """Those of the same case, after the same number of tasks."""
        return self.case if len(self.run.protocol.groups) == len(self.groups) else None
