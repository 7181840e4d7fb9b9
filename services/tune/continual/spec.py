"""A sweep of protocols: data sets whose classes are learnt in groups, and the network that learns them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from icss_core.continual import IncrementalProtocol, Setting, read_protocol
from icss_core.methods import DensePreset, get_dense_preset
from icss_core.networks.segmenter import Decoder
from services.tune.spec import Strict, SweepSpec, Variant

if TYPE_CHECKING:
    from collections.abc import Iterator


_WAITING_BYTES: Final = 500 * 2**20
"""Of a process that has imported torch and waits; Tune refuses a trial that asks for nothing at all."""


class Task(Strict):
    """A protocol put to a data set."""

    dataset: str
    """Name of a data set; its address is given when the sweep is submitted."""
    protocol: IncrementalProtocol
    """By its name, or written out with name and groups."""
    settings: tuple[Setting, ...] = ()
    """Which images a step sees, each a task of its own; empty: as the protocol says."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Changes to every variant's preset on these data, by dotted path."""

    @field_validator("protocol", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return read_protocol(value) if isinstance(value, str) else value

    def protocols(self) -> list[IncrementalProtocol]:
        """One for each setting."""
        settings = self.settings or (self.protocol.setting,)
        return [self.protocol.model_copy(update={"setting": setting}) for setting in settings]


class ProtocolVariant(Variant):
    """A dense preset, changed by some numbers."""

    offline: bool = False
    """Whether all classes are learnt at once, in one step: the upper bound of the others."""


class Network(Strict):
    """What learns; see `Architecture`."""

    decoder: Decoder = "deeplabv3"
    encoder: str = "resnet101"
    encoder_output_stride: Literal[8, 16] | None = 16
    encoder_weights: str | None = "imagenet"


class ProtocolSweep(SweepSpec):
    """Learns classes group by group from many images, by every method; each step is a training job."""

    protocol: Literal["steps"]
    tasks: Annotated[tuple[Task, ...], Field(min_length=1)]
    variants: Annotated[tuple[ProtocolVariant, ...], Field(min_length=1)]
    network: Network = Network()
    workers: NonNegativeInt = 1
    """Of each step, data-parallel; 0: the trial's own process, for networks that learn faster than a worker
    starts. That one has a GPU only if `gpu` says so."""
    cpus_per_worker: PositiveInt = 1
    gpu: bool | None = None
    """One GPU for each worker; None: if the cluster has that many."""
    validate_every: PositiveInt = 1000
    checkpoint_every: PositiveInt = 200

    @model_validator(mode="after")
    def _tasks_have_names_of_their_own(self) -> Self:
        titles = [title for title, *_ in self.questions()]
        if len(set(titles)) != len(titles):
            raise ValueError(f"two tasks have one name: {titles}")
        for task in self.tasks:
            for variant, values in self.points():
                self.preset_of(variant, {**task.overrides, **values})
        return self

    def questions(self) -> Iterator[tuple[str, Task, IncrementalProtocol]]:
        """Title, task and protocol, for each task at each of its settings."""
        for task in self.tasks:
            for protocol in task.protocols():
                yield f"{task.dataset}: {protocol.name}, {protocol.setting}", task, protocol

    @property
    def resources(self) -> dict[str, float]:
        """Of a trial's process: none to speak of where it only waits for the training jobs that it starts."""
        if self.workers:
            return {"CPU": 0, "memory": _WAITING_BYTES}
        return {"CPU": float(self.cpus_per_worker), "GPU": float(self.gpu is True)}

    def preset_of(self, variant: Variant, values: dict[str, Any]) -> DensePreset:
        """The preset of a trial.

        Raises:
            IcssError: an unknown preset, or a number that is out of its bounds.
        """
        return get_dense_preset(variant.preset, self.numbers_of(variant, values))
