"""The file of a carry-over sweep: cases, and how many images are clicked and seen."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from services.tune.carry_over.case import CarryOverCase
from services.tune.click_sweep import ClickSweep


class CarryOverSweep(ClickSweep):
    """Adds one class from clicks on some images, and scores all validation images."""

    kind: Literal["carry-over"] = "carry-over"
    cases: Annotated[tuple[CarryOverCase, ...], Field(min_length=1)]
    clicked_images: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1,)
    context_images: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (0,)
    """Unclicked validation images, of any district, that take part in the update; the first ones of an order
    that the seed decides, so that fewer are among more."""
    annotations: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (100,)
    """Clicks of the background and of the new class on each clicked image."""

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        self.check_networks(self.cases)
        for numbers in (self.clicked_images, self.context_images, self.annotations):
            if len(set(numbers)) != len(numbers):
                raise ValueError(f"a number twice: {numbers}")
        return self

    def _axes(self) -> tuple[str, ...]:
        return ("annotations", "clicked_images", "context_images")
