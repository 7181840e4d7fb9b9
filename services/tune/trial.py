"""One trial of a sweep: all that decides its numbers, and where it belongs in the answer."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from icss_core.seed import Seed


class Trial(BaseModel):
    """What the trials of all kinds of sweeps have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str
    """Title of the pair of classes, or of the protocol and data set, that variants are compared on."""
    variant: str
    """Title of the variant."""
    values: dict[str, Any] = {}
    """The varied numbers by dotted path, for tables; the preset has them too."""
    seed: Seed = 0
    pictures: int = 0
    """Limit of images whose class maps are kept."""

    @property
    def trial_id(self) -> str:
        """Equal for trials that ask the same of the same data and networks."""
        raise NotImplementedError

    def decisive(self) -> dict[str, Any]:
        """What is recorded of the trial: all that must not change while it is worked on."""
        return self.model_dump(mode="json", exclude={"pictures"})

    @property
    def title(self) -> str:
        """Name in messages and in MLflow."""
        varied = ", ".join(f"{last_part(path)} {short(value)}" for path, value in self.values.items())
        return "; ".join(part for part in (self.case, self.variant, varied) if part)

    @property
    def row_key(self) -> tuple[str, ...]:
        """Equal for trials that differ only in their seed: together they are a row of the table."""
        return self.case, self.variant, json.dumps(self.values)

    @property
    def dataset_address(self) -> str:
        """Address of the dataset.yaml."""
        raise NotImplementedError

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it ends with, in the order of class maps, without the background."""
        raise NotImplementedError

    @property
    def picture_rank(self) -> int:
        """Pictures show one trial of each variant: that of the highest rank, and of equals the first."""
        return 0

    @property
    def rivals(self) -> str | None:
        """A scheduler compares trials that say the same here; None: it compares this one with no other."""
        raise NotImplementedError


AnyTrial = TypeVar("AnyTrial", bound=Trial)


def last_part(path: str) -> str:
    """The last part of a dotted path: `weight` of `regularisers.podnet.weight`."""
    return path.rpartition(".")[2]


def short(value: Any) -> str:
    """A value of a preset for people: numbers with four digits, a dash for None, anything else as it is."""
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
