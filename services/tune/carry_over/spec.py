"""The file of a carry-over sweep: cases, and how many images are clicked and seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from icss_core.methods import get_preset
from services.tune.carry_over.case import CarryOverCase
from services.tune.interactive.networks import control_config, memory_config
from services.tune.spec import SweepSpec

if TYPE_CHECKING:
    from icss_core.methods import Preset
    from services.tune.spec import Variant


class CarryOverSweep(SweepSpec):
    """Adds one class from clicks on some images, and scores all validation images."""

    kind: Literal["carry-over"] = "carry-over"
    cases: Annotated[tuple[CarryOverCase, ...], Field(min_length=1)]
    clicked_images: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1,)
    context_images: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (0,)
    """Unclicked validation images, of any district, that take part in the update; the first ones of an order
    that the seed decides, so that fewer are among more."""
    annotations: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (100,)
    """Clicks of the background and of the new class on each clicked image."""
    pretraining: dict[str, Any] = Field(default_factory=dict)
    """How memory and control network are trained: `preset`, and fields of a TrainingConfig by dotted path."""
    cpus: PositiveInt = 2
    """Reserved for each trial; so are `gpus`."""
    gpus: Annotated[float, Field(ge=0, le=1)] = 0

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        for case in self.cases:
            for config in (memory_config, control_config):
                config(case, "s3://where/dataset.yaml", self.pretraining)
        for numbers in (self.clicked_images, self.context_images, self.annotations):
            if len(set(numbers)) != len(numbers):
                raise ValueError(f"a number twice: {numbers}")
        return self

    @property
    def resources(self) -> dict[str, float]:
        """What a trial's process reserves: it trains by itself."""
        return {"CPU": self.cpus, "GPU": self.gpus}

    def preset_of(self, variant: Variant, values: dict[str, Any]) -> Preset:
        """The preset of a trial.

        Raises:
            IcssError: an unknown preset, or a number that is out of its bounds.
        """
        return get_preset(variant.preset, self.numbers_of(variant, values))

    def _axes(self) -> tuple[str, ...]:
        return ("annotations", "clicked_images", "context_images")
