"""A case of an interactive sweep: the classes that a network knows, and the one it learns."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from icss_core.labels import name_key
from services.tune.spec import Strict


class Pair(Strict):
    """Classes of the memory network, and the one that clicks add."""

    dataset: str
    """Name of a data set; its address is given when the sweep is submitted."""
    old: Annotated[tuple[str, ...], Field(min_length=1)]
    new: str

    @model_validator(mode="after")
    def _new_is_new(self) -> Self:
        if name_key(self.new) in map(name_key, self.old):
            raise ValueError(f"{self.new!r} is both old and new")
        return self

    @property
    def title(self) -> str:
        """Name in tables."""
        return f"{self.dataset}: {', '.join(self.old)} + {self.new}"
