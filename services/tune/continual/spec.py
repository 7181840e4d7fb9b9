"""The file of a continual sweep: which protocols on which data sets, and the network that learns them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from icss_core.continual import IncrementalProtocol, Setting, read_protocol
from icss_core.methods import DensePreset, get_dense_preset
from icss_core.networks.segmenter import Decoder
from services.tune.spec import Strict, SweepSpec, Variant

_WAITING_BYTES: Final = 500 * 2**20
"""Memory of a process that has imported torch and waits. Tune refuses trials that reserve nothing at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the variants are compared on: a protocol in one of its settings, and a data set."""

    title: str
    dataset: str
    """Its name in the sweep's file."""
    protocol: IncrementalProtocol
    overrides: dict[str, Any]
    """Changes to every variant's preset, by dotted path."""


class ProtocolOnData(Strict):
    """A protocol, and the data set that it is run on."""

    dataset: str
    """Name of a data set; its address is given when the sweep is submitted."""
    protocol: IncrementalProtocol
    """In the file: its name, or a mapping with name and groups."""
    settings: tuple[Setting, ...] = ()
    """Which images each task sees: a case for each setting. Empty: the protocol's own setting."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Changes to every variant's preset on these data, by dotted path."""

    @field_validator("protocol", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return read_protocol(value) if isinstance(value, str) else value

    def cases(self) -> list[Case]:
        """A case for each setting."""
        settings = self.settings or (self.protocol.setting,)
        return [
            Case(
                title=f"{self.dataset}: {self.protocol.name}, {setting}",
                dataset=self.dataset,
                protocol=self.protocol.model_copy(update={"setting": setting}),
                overrides=self.overrides,
            )
            for setting in settings
        ]


class ContinualVariant(Variant):
    """A dense preset, changed by some numbers."""

    offline: bool = False
    """Whether all classes are learnt at once, in a single task: the upper bound for the other variants."""


class Network(Strict):
    """The network that learns; see `Architecture`."""

    decoder: Decoder = "deeplabv3"
    encoder: str = "resnet101"
    encoder_output_stride: Literal[8, 16] | None = 16
    encoder_weights: str | None = "imagenet"


class ContinualSweep(SweepSpec):
    """Learns classes group by group from many images, by every method; each task is a training job."""

    kind: Literal["continual"]
    protocols: Annotated[tuple[ProtocolOnData, ...], Field(min_length=1)]
    variants: Annotated[tuple[ContinualVariant, ...], Field(min_length=1)]
    network: Network = Network()
    workers: NonNegativeInt = 1
    """Of each training, data-parallel. 0: the trial's own process trains, which is faster for networks that
    learn in less time than a worker takes to start; it has a GPU only if `gpu` says so."""
    cpus_per_worker: PositiveInt = 1
    gpu: bool | None = None
    """One GPU for each worker; None: if the cluster has that many."""
    validate_every: PositiveInt = 1000
    checkpoint_every: PositiveInt = 200

    @model_validator(mode="after")
    def _cases_differ_and_presets_exist(self) -> Self:
        titles = [case.title for case in self.cases()]
        if len(set(titles)) != len(titles):
            raise ValueError(f"two protocols have the same title: {titles}")
        for case in self.cases():
            for variant, values in self.points():
                self.preset_of(variant, {**case.overrides, **values})
        return self

    def cases(self) -> list[Case]:
        """The cases of all protocols."""
        return [case for asked in self.protocols for case in asked.cases()]

    @property
    def resources(self) -> dict[str, float]:
        """What a trial's process reserves: next to nothing where it only waits for its training jobs."""
        if self.workers:
            return {"CPU": 0, "memory": _WAITING_BYTES}
        return {"CPU": float(self.cpus_per_worker), "GPU": float(self.gpu is True)}

    def preset_of(self, variant: Variant, values: dict[str, Any]) -> DensePreset:
        """The preset of a trial.

        Raises:
            IcssError: an unknown preset, or a number that is out of its bounds.
        """
        return get_dense_preset(variant.preset, self.numbers_of(variant, values))
