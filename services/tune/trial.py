"""One trial of a sweep: everything that decides its numbers."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from icss_core.methods import Preset

What = Literal["session", "memory", "control"]


class Trial(BaseModel):
    """Everything that decides a trial's numbers, and a few things that do not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: What = "session"
    """A session per image, or a network as it is."""
    pair: str
    """Title of the pair of classes."""
    variant: str
    """Title of the variant."""
    dataset: str
    """Address of its dataset.yaml."""
    manifest_hash: str
    old: tuple[str, ...]
    new: str
    memory: tuple[str, int]
    """Registered name and version."""
    control: tuple[str, int] | None = None
    preset: Preset | None = None
    values: dict[str, Any] = {}
    """The varied numbers, by path; the preset has them already."""
    annotations: int = 0
    seed: int = 0
    images: int | None = None
    look_every: int | None = None
    pictures: int = 0
    """Images whose class maps are kept."""

    @property
    def trial_id(self) -> str:
        """The same for equal trials: what is asked of equal data and networks."""
        asked = self.model_dump(
            mode="json", exclude={"dataset", "pictures", "variant", "pair", "preset", "values"}
        )
        if self.preset is not None:
            asked["preset"] = self.preset.model_dump(mode="json", exclude={"summary", "warning"})
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def title(self) -> str:
        """For people."""
        varied = ", ".join(f"{path.rpartition('.')[2]} {short(value)}" for path, value in self.values.items())
        parts = [self.pair, self.variant, varied]
        if self.what == "session":
            parts += [f"{self.annotations} clicks", f"seed {self.seed}"]
        return "; ".join(part for part in parts if part)


def short(value: Any) -> str:
    """A number of a preset for people: a few digits, words as they are, a dash for none."""
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
