"""What the files of all kinds of sweeps have: variants, numbers that vary, seeds, how trials are run."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from icss_core.seed import Seed
from services.tune.trial import last_part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icss_core.methods.method import Method


class Strict(BaseModel):
    """A part of a sweep's file; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Domain(Strict):
    """The values that one number of a preset takes: a grid, or a range to draw from."""

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


class Variant(Strict):
    """A preset with some of its numbers changed, and some of them varied."""

    preset: str
    label: str = ""
    """Name in tables; empty: the name of the preset."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Numbers that are changed once for all, by dotted path."""
    vary: dict[str, Domain] = Field(default_factory=dict)
    """Numbers that vary, by dotted path: each combination of their values is a trial."""

    @property
    def title(self) -> str:
        """Name in tables."""
        return self.label or self.preset


class Search(Strict):
    """How the values of varied numbers are chosen."""

    kind: Literal["grid", "random"] = "grid"
    samples: PositiveInt = 10
    """Draws for each variant in a random search."""
    seed: Seed = 0


class Scheduler(Strict):
    """Which trials may stop early."""

    kind: Literal["all", "asha"] = "all"
    """all: none; asha: those that are behind (asynchronous successive halving)."""
    grace: PositiveInt = 2
    """Images or tasks that every trial may finish."""
    reduction: Annotated[int, Field(ge=2)] = 3


class Plot(Strict):
    """The plot beside the table."""

    x: str
    """On its axis: the last part of a varied path, as `weight`, or `annotations` of interactive sweeps."""
    title: str = ""
    log: bool = True


class SweepSpec(Strict):
    """A sweep, as its file says it at one of its scales (a smoke test, a small machine, a paper's length)."""

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,60}$")]
    question: str
    """That the sweep answers, in one sentence."""
    kind: str
    """Of sweep: a key of `SWEEP_KINDS`."""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2)
    pictures: Annotated[int, Field(ge=0, le=20)] = 3
    """Limit of validation images whose class maps are kept and shown."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Changes to every variant's preset."""
    search: Search = Search()
    scheduler: Scheduler = Scheduler()
    plot: Plot | None = None
    concurrency: PositiveInt = 1
    """How many trials run at a time."""

    @model_validator(mode="after")
    def _points_are_presets(self) -> Self:
        if self.search.kind == "grid":
            ranges = [p for v in self.variants for p, domain in v.vary.items() if domain.grid is None]
            if ranges:
                raise ValueError(f"a grid search needs grids; {ranges} are ranges (search.kind: random)")
        titles = [variant.title for variant in self.variants]
        if len(set(titles)) != len(titles):
            raise ValueError(f"two variants have one name: {titles}")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"a seed twice: {self.seeds}")
        if self.plot is not None:
            self._check_axis(self.plot.x)
        for variant, values in self.points():
            self.preset_of(variant, values)
        return self

    @property
    def resources(self) -> dict[str, float]:
        """What a trial's process reserves, as Ray names it."""
        raise NotImplementedError

    def preset_of(self, variant: Variant, values: dict[str, Any]) -> Method:
        """The preset of a trial.

        Raises:
            IcssError: an unknown preset, or a number that is out of its bounds.
        """
        raise NotImplementedError

    def numbers_of(self, variant: Variant, values: dict[str, Any]) -> dict[str, Any]:
        """All changes to a trial's preset, by dotted path: varied values win, then the variant's."""
        return {**self.overrides, **variant.overrides, **values}

    def _axes(self) -> tuple[str, ...]:
        """What can be on a plot's axis besides numbers that vary."""
        return ()

    def _check_axis(self, x: str) -> None:
        paths = [path for variant in self.variants for path in variant.vary if last_part(path) == x]
        if x not in self._axes() and not paths:
            fixed = "".join(f"{axis}, " for axis in self._axes())
            raise ValueError(f"plot.x is {fixed}or the last part of a varied path, not {x!r}")
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


AnySpec = TypeVar("AnySpec", bound=SweepSpec)
