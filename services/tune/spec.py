"""What a sweep is: the content of a file in `tune_specs/`."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from icss_core.errors import IcssError, InvalidParameterError, faults_of
from icss_core.methods import get_preset
from services.tune.networks import control_config, memory_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from icss_core.methods import Preset


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pair(_Strict):
    """A question put to a data set: which classes are known, and which is added."""

    dataset: str
    """Name of a data set; its address is given when the sweep is submitted."""
    old: Annotated[tuple[str, ...], Field(min_length=1)]
    new: str

    @model_validator(mode="after")
    def _new_is_new(self) -> Self:
        if self.new in self.old:
            raise ValueError(f"{self.new!r} is both known and new")
        return self

    @property
    def title(self) -> str:
        """For tables."""
        return f"{self.dataset}: {', '.join(self.old)} + {self.new}"


class Domain(_Strict):
    """Values of one number of a preset: a grid, or a range to draw from."""

    grid: tuple[Any, ...] | None = None
    uniform: tuple[float, float] | None = None
    loguniform: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(kind is not None for kind in (self.grid, self.uniform, self.loguniform)) != 1:
            raise ValueError("a domain is one of grid, uniform and loguniform")
        low, high = self.uniform or self.loguniform or (0.5, 1.0)
        if not low < high or (self.loguniform and low <= 0) or self.grid == ():
            raise ValueError("a range goes from a smaller to a larger number (loguniform: above 0)")
        return self

    def draw(self, rng: np.random.Generator) -> Any:
        """One value at random."""
        if self.grid is not None:
            return self.grid[int(rng.integers(len(self.grid)))]
        if self.uniform is not None:
            return float(rng.uniform(*self.uniform))
        assert self.loguniform is not None  # noqa: S101 - one of the three
        return float(np.exp(rng.uniform(*np.log(self.loguniform))))


class Variant(_Strict):
    """A preset, changed by some numbers; some of them vary."""

    preset: str
    label: str = ""
    """Name in tables; empty: the preset's."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Fixed changes, by dotted path."""
    vary: dict[str, Domain] = Field(default_factory=dict)
    """Changes that make trials of their own, by dotted path."""

    @property
    def title(self) -> str:
        """For tables."""
        return self.label or self.preset


class Search(_Strict):
    """How the values of varied numbers are chosen."""

    kind: Literal["grid", "random"] = "grid"
    samples: PositiveInt = 10
    """Of random: draws for each variant."""
    seed: int = 0


class Scheduler(_Strict):
    """Which trials may stop early."""

    kind: Literal["all", "asha"] = "all"
    """asha: trials that are behind after some images are stopped (asynchronous successive halving)."""
    grace_images: PositiveInt = 2
    reduction: Annotated[int, Field(ge=2)] = 3


class Plot(_Strict):
    """The plot beside the table."""

    x: str
    """`annotations`, or the last part of a varied path, as `weight`."""
    title: str = ""
    log: bool = True


class SweepSpec(_Strict):
    """A sweep. `scales` are changes for a smoke test, a small machine, a paper's length."""

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,60}$")]
    question: str
    """What it answers, in one sentence."""
    protocol: Literal["icss"] = "icss"
    pairs: Annotated[tuple[Pair, ...], Field(min_length=1)]
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (0, 1, 2)
    annotations: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (300,)
    control: bool = True
    """Whether a network trained on all classes with dense masks is scored too."""
    images: PositiveInt | None = None
    """Most validation images; None: all that show the new class."""
    pictures: Annotated[int, Field(ge=0, le=20)] = 3
    """Images whose maps go into the picture."""
    look_every: PositiveInt | None = 5
    """Learning steps between looks in the last half of a session; None: the last step only."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Changes to every variant's preset."""
    pretraining: dict[str, Any] = Field(default_factory=dict)
    """Of memory and control network: `preset`, and fields of a PretrainingConfig by dotted path."""
    search: Search = Search()
    scheduler: Scheduler = Scheduler()
    plot: Plot | None = None
    concurrency: PositiveInt = 1
    """Trials at a time."""
    cpus: PositiveInt = 2
    """Of each trial."""
    gpus: Annotated[float, Field(ge=0, le=1)] = 0

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        if self.search.kind == "grid":
            ranges = [p for v in self.variants for p, domain in v.vary.items() if domain.grid is None]
            if ranges:
                raise ValueError(f"a grid search needs grids; {ranges} are ranges (search.kind: random)")
        titles = [variant.title for variant in self.variants]
        if len(set(titles)) != len(titles):
            raise ValueError(f"two variants have one name: {titles}")
        for pair in self.pairs:
            for config in (memory_config, control_config):
                config(pair, "s3://where/dataset.yaml", self.pretraining)
        if len(set(self.seeds)) != len(self.seeds) or len(set(self.annotations)) != len(self.annotations):
            raise ValueError(f"a seed or an amount of annotations twice: {self.seeds}, {self.annotations}")
        if self.scheduler.kind == "asha" and self.scheduler.grace_images > (self.images or 10**6):
            raise ValueError(f"{self.scheduler.grace_images} grace images of {self.images}: none could stop")
        if self.plot is not None:
            self._check_axis(self.plot.x)
        for variant, values in self.points():
            self.preset_of(variant, values)
        return self

    def _check_axis(self, x: str) -> None:
        paths = [path for one in self.variants for path in one.vary if path.rpartition(".")[2] == x]
        if x != "annotations" and not paths:
            raise ValueError(f"plot.x is annotations or the last part of a varied path, not {x!r}")
        values = [value for _, chosen in self.points() for path, value in chosen.items() if path in paths]
        if not all(isinstance(value, int | float) for value in values):
            raise ValueError(f"plot.x: {x!r} varies over {values}, which are not numbers")

    def points(self) -> Iterator[tuple[Variant, dict[str, Any]]]:
        """Each variant with each choice of its varied numbers; the same on every call."""
        rng = np.random.default_rng(self.search.seed)
        for variant in self.variants:
            if self.search.kind == "random" and variant.vary:
                for _ in range(self.search.samples):
                    yield variant, {path: domain.draw(rng) for path, domain in variant.vary.items()}
            else:
                grids = [domain.grid or () for domain in variant.vary.values()]
                for chosen in itertools.product(*grids):
                    yield variant, dict(zip(variant.vary, chosen, strict=True))

    def preset_of(self, variant: Variant, values: dict[str, Any]) -> Preset:
        """The preset of a trial.

        Raises:
            IcssError: an unknown preset, or a number that is out of its bounds.
        """
        return get_preset(variant.preset, {**variant.overrides, **self.overrides, **values})


def read_spec(path: Path, scale: str | None = None) -> SweepSpec:
    """A sweep from its file, at one of its scales.

    Raises:
        InvalidParameterError: no such file or scale, or the file does not say a sweep; the message lists
            every fault.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidParameterError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise InvalidParameterError(f"{path} must be a mapping with name, question, pairs and variants")
    scales = content.pop("scales", {})
    if scale is not None:
        if scale not in scales:
            raise InvalidParameterError(f"{path} has no scale {scale!r}; it has {list(scales)}")
        content = _merged(content, scales[scale] or {})
    try:
        return SweepSpec.model_validate(content)
    except ValidationError as error:
        raise InvalidParameterError(f"{path} is not a sweep: {faults_of(error)}") from error
    except IcssError as error:
        raise InvalidParameterError(f"{path} is not a sweep: {error}") from error


def _merged(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Mappings are merged, everything else is replaced."""
    merged = dict(content)
    for key, value in changes.items():
        known = merged.get(key)
        merged[key] = _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged
