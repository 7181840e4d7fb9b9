"""The file of an interactive sweep: pairs of classes, and how many clicks."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from services.tune.click_sweep import ClickSweep
from services.tune.interactive.pair import Pair


class InteractiveSweep(ClickSweep):
    """Adds one class from clicks to a network that knows the old ones: a session on each image."""

    kind: Literal["interactive"] = "interactive"
    pairs: Annotated[tuple[Pair, ...], Field(min_length=1)]
    annotations: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (300,)
    control: bool = True
    """Whether a network trained on all classes with dense masks is scored too."""
    images: PositiveInt | None = None
    """Limit of validation images; None: all that show the new class."""
    look_every: PositiveInt | None = 5
    """In the second half of a session the network is scored every so many rounds; None: at the end only."""

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        self.check_networks(self.pairs)
        if len(set(self.annotations)) != len(self.annotations):
            raise ValueError(f"a number of annotations twice: {self.annotations}")
        if self.scheduler.kind == "asha" and self.scheduler.grace > (self.images or 10**6):
            raise ValueError(f"{self.scheduler.grace} grace images of {self.images}: none could stop")
        return self

    def _axes(self) -> tuple[str, ...]:
        return ("annotations",)
