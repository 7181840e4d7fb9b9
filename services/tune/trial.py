"""One trial of a sweep: everything that decides its numbers."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from icss_core.seed import Seed


class Trial(BaseModel):
    """What every trial has, whatever is tried."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str
    """Title of the pair of classes, or of the protocol and data set, that variants are compared on."""
    variant: str
    """Title of the variant."""
    values: dict[str, Any] = {}
    """The varied numbers, by path; the preset has them already."""
    seed: Seed = 0
    pictures: int = 0
    """Images whose class maps are kept."""

    @property
    def trial_id(self) -> str:
        """The same for equal trials: what is asked of equal data and networks."""
        raise NotImplementedError

    def decisive(self) -> dict[str, Any]:
        """For the record: what cannot change when the trial goes on."""
        return self.model_dump(mode="json", exclude={"pictures"})

    @property
    def title(self) -> str:
        """For people."""
        varied = ", ".join(f"{last_part(path)} {short(value)}" for path, value in self.values.items())
        return "; ".join(part for part in (self.case, self.variant, varied) if part)

    @property
    def row_key(self) -> tuple[str, ...]:
        """Equal for trials that differ in nothing but their seed: together they are one row of the table."""
        return self.case, self.variant, json.dumps(self.values)

    @property
    def dataset_address(self) -> str:
        """Of the dataset.yaml of its images."""
        raise NotImplementedError

    @property
    def classes(self) -> tuple[str, ...]:
        """All that it ends with, in the order of its class maps, background left out."""
        raise NotImplementedError

    @property
    def picture_rank(self) -> int:
        """Pictures show one trial of each variant: the highest rank; of equals, the first."""
        return 0

    @property
    def rivals(self) -> str | None:
        """Trials with the same answer may be compared on the way; None: with no other."""
        raise NotImplementedError


AnyTrial = TypeVar("AnyTrial", bound=Trial)


def last_part(path: str) -> str:
    """Of a dotted path, as `weight` of `regularisers.podnet.weight`."""
    return path.rpartition(".")[2]


def short(value: Any) -> str:
    """A number of a preset for people: a few digits, words as they are, a dash for none."""
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
