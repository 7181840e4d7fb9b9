"""What the trials of all sweeps of updates from clicks have."""

from __future__ import annotations

import hashlib
import json

from icss_core.methods import Preset
from services.tune.trial import Trial


class ClickTrial(Trial):
    """A method with its numbers, or a network that is only scored, on a data set and a pair of classes."""

    dataset: str
    """Address of its dataset.yaml."""
    manifest_hash: str
    old: tuple[str, ...]
    new: str
    preset: Preset | None = None
    """None: a network that is only scored."""
    annotations: int = 0

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
    def dataset_address(self) -> str:
        """Address of the dataset.yaml."""
        return self.dataset

    @property
    def classes(self) -> tuple[str, ...]:
        """The old classes, then the new one."""
        return *self.old, self.new
