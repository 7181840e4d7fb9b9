"""What the files of all sweeps of updates from clicks have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PositiveInt

from icss_core.methods import get_preset
from services.tune.interactive.networks import control_config, memory_config
from services.tune.spec import SweepSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from icss_core.methods import Preset
    from services.tune.interactive.pair import Pair
    from services.tune.spec import Variant


class ClickSweep(SweepSpec):
    """Trials that train by themselves, in their own process, from networks that the sweep trains first."""

    pretraining: dict[str, Any] = Field(default_factory=dict)
    """How memory and control network are trained: `preset`, and fields of a TrainingConfig by dotted path.
    Unless it says `gpu`, each of their workers has a GPU where trials have one."""
    cpus: PositiveInt = 2
    """Reserved for each trial; so are `gpus`."""
    gpus: Annotated[float, Field(ge=0, le=1)] = 0

    @property
    def resources(self) -> dict[str, float]:
        """What a trial's process reserves: it trains by itself."""
        return {"CPU": self.cpus, "GPU": self.gpus}

    @property
    def network_numbers(self) -> dict[str, Any]:
        """`pretraining`, which asks for the GPUs that trials ask for.

        By itself a training counts those that are there when it starts: none, where they come when asked for.
        """
        return {"gpu": True, **self.pretraining} if self.gpus else self.pretraining

    def preset_of(self, variant: Variant, values: dict[str, Any]) -> Preset:
        """The preset of a trial.

        Raises:
            IcssError: an unknown preset, or a number that is out of its bounds.
        """
        return get_preset(variant.preset, self.numbers_of(variant, values))

    def check_networks(self, pairs: Iterable[Pair]) -> None:
        """Refuse a pretraining that cannot be.

        Raises:
            InvalidParameterError: a number is unknown or out of its bounds.
        """
        for pair in pairs:
            for config in (memory_config, control_config):
                config(pair, "s3://where/dataset.yaml", self.network_numbers)
