"""A trial of sessions: a method and its numbers on every validation image, or a network as it is."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from icss_core.methods import Preset
from services.tune.trial import Trial

What = Literal["session", "memory", "control"]


class InteractiveTrial(Trial):
    """Everything that decides a trial's numbers, and a few things that do not."""

    what: What = "session"
    """A session per image, or a network as it is."""
    dataset: str
    """Address of its dataset.yaml."""
    manifest_hash: str
    old: tuple[str, ...]
    new: str
    memory: tuple[str, int]
    """Registered name and version."""
    control: tuple[str, int] | None = None
    preset: Preset | None = None
    annotations: int = 0
    images: int | None = None
    look_every: int | None = None

    @property
    def trial_id(self) -> str:
        """The same for equal trials: what is asked of equal data and networks."""
        asked = self.model_dump(
            mode="json", exclude={"dataset", "pictures", "variant", "case", "preset", "values"}
        )
        if self.preset is not None:
            asked["preset"] = self.preset.model_dump(mode="json", exclude={"summary", "warning"})
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def title(self) -> str:
        """For people."""
        if self.what != "session":
            return super().title
        return f"{super().title}; {self.annotations} clicks; seed {self.seed}"

    @property
    def row_key(self) -> tuple[str, ...]:
        """Another number of clicks is another row."""
        return *super().row_key, str(self.annotations)

    @property
    def dataset_address(self) -> str:
        """Of the dataset.yaml of its images."""
        return self.dataset

    @property
    def classes(self) -> tuple[str, ...]:
        """The old ones, then the new one."""
        return *self.old, self.new

    @property
    def picture_rank(self) -> int:
        """Maps after the most clicks are shown."""
        return self.annotations

    @property
    def rivals(self) -> str | None:
        """Sessions of one pair with one number of clicks; networks as they are never stop early."""
        return f"{self.case}; {self.annotations} clicks" if self.what == "session" else None
