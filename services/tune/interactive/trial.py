"""A trial of an interactive sweep: sessions on every validation image, or a network that is only scored."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from icss_core.methods import Preset
from services.tune.trial import Trial

What = Literal["session", "memory", "control"]


class InteractiveTrial(Trial):
    """A method with its numbers, or the memory or control network, on the validation images of a data set."""

    what: What = "session"
    """Sessions, one an image; or a network that is scored as it is."""
    dataset: str
    """Address of its dataset.yaml."""
    manifest_hash: str
    old: tuple[str, ...]
    new: str
    memory: tuple[str, int]
    """Its registered name and version."""
    control: tuple[str, int] | None = None
    preset: Preset | None = None
    annotations: int = 0
    images: int | None = None
    look_every: int | None = None

    @property
    def trial_id(self) -> str:
        """Equal for trials that ask the same of the same data and networks."""
        decisive = self.model_dump(
            mode="json", exclude={"dataset", "pictures", "variant", "case", "preset", "values"}
        )
        if self.preset is not None:
            decisive["preset"] = self.preset.model_dump(mode="json", exclude={"summary", "warning"})
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def title(self) -> str:
        """Name in messages and in MLflow."""
        if self.what != "session":
            return super().title
        return f"{super().title}; {self.annotations} clicks; seed {self.seed}"

    @property
    def row_key(self) -> tuple[str, ...]:
        """As of any trial; another number of clicks is another row."""
        return *super().row_key, str(self.annotations)

    @property
    def dataset_address(self) -> str:
        """Address of the dataset.yaml."""
        return self.dataset

    @property
    def classes(self) -> tuple[str, ...]:
        """The old classes, then the new one."""
        return *self.old, self.new

    @property
    def picture_rank(self) -> int:
        """The number of clicks: maps after many are shown."""
        return self.annotations

    @property
    def rivals(self) -> str | None:
        """Sessions of the same pair with as many clicks; a network that is only scored has none."""
        return f"{self.case}; {self.annotations} clicks" if self.what == "session" else None
