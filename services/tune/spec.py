"""What every sweep has, whatever is tried: variants, the numbers that vary, seeds, and how trials are run."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from icss_core.seed import Seed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icss_core.methods.method import Method


class Strict(BaseModel):
    """A part of a sweep's file: what it does not know is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Domain(Strict):
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


class Variant(Strict):
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


class Search(Strict):
    """How the values of varied numbers are chosen."""

    kind: Literal["grid", "random"] = "grid"
    samples: PositiveInt = 10
    """Of random: draws for each variant."""
    seed: Seed = 0


class Scheduler(Strict):
    """Which trials may stop early."""

    kind: Literal["all", "asha"] = "all"
    """asha: trials that are behind are stopped (asynchronous successive halving)."""
    grace: PositiveInt = 2
    """Images, or tasks, before the first may stop."""
    reduction: Annotated[int, Field(ge=2)] = 3


class Plot(Strict):
    """The plot beside the table."""

    x: str
    """`annotations` of sessions, or the last part of a varied path, as `weight`."""
    title: str = ""
    log: bool = True


class SweepSpec(Strict):
    """A sweep. `scales` of its file are changes for a smoke test, a small machine, a paper's length."""

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,60}$")]
    question: str
    """What it answers, in one sentence."""
    kind: str
    """What is tried: one of `SWEEP_KINDS`."""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2)
    pictures: Annotated[int, Field(ge=0, le=20)] = 3
    """Images whose maps go into the picture."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Changes to every variant's preset."""
    search: Search = Search()
    scheduler: Scheduler = Scheduler()
    plot: Plot | None = None
    concurrency: PositiveInt = 1
    """Trials at a time."""

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
        """Of a trial's own process, as Ray names them."""
        raise NotImplementedError

    def preset_of(self, variant: Variant, values: dict[str, Any]) -> Method:
        """The preset of a trial.

        Raises:
            IcssError: an unknown preset, or a number that is out of its bounds.
        """
        raise NotImplementedError

    def numbers_of(self, variant: Variant, values: dict[str, Any]) -> dict[str, Any]:
        """All changes to a trial's preset, by dotted path: the more special over the more general."""
        return {**self.overrides, **variant.overrides, **values}

    def _axes(self) -> tuple[str, ...]:
        """What a plot may have on its axis besides varied numbers."""
        return ()

    def _check_axis(self, x: str) -> None:
        paths = [path for one in self.variants for path in one.vary if path.rpartition(".")[2] == x]
        if x not in self._axes() and not paths:
            known = "".join(f"{axis}, " for axis in self._axes())
            raise ValueError(f"plot.x is {known}or the last part of a varied path, not {x!r}")
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
