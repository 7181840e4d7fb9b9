"""The file of an interactive sweep: pairs of classes, and how many clicks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from icss_core.methods import get_preset
from services.tune.interactive.networks import control_config, memory_config
from services.tune.interactive.pair import Pair
from services.tune.spec import SweepSpec

if TYPE_CHECKING:
    from icss_core.methods import Preset
    from services.tune.spec import Variant


class InteractiveSweep(SweepSpec):
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
    pretraining: dict[str, Any] = Field(default_factory=dict)
    """How memory and control network are trained: `preset`, and fields of a TrainingConfig by dotted path."""
    cpus: PositiveInt = 2
    """Reserved for each trial; so are `gpus`."""
    gpus: Annotated[float, Field(ge=0, le=1)] = 0

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        for pair in self.pairs:
            for config in (memory_config, control_config):
                config(pair, "s3://where/dataset.yaml", self.pretraining)
        if len(set(self.annotations)) != len(self.annotations):
            raise ValueError(f"a number of annotations twice: {self.annotations}")
        if self.scheduler.kind == "asha" and self.scheduler.grace > (self.images or 10**6):
            raise ValueError(f"{self.scheduler.grace} grace images of {self.images}: none could stop")
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
        return ("annotations",)
