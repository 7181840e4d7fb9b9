"""Protocols: in which order, and in which groups, the classes of a data set are learnt."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from icss_core.dataset import BACKGROUND_CLASS
from icss_core.errors import InvalidParameterError, faults_of
from icss_core.labels import name_key
from icss_core.seed import Seed

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from icss_core.dataset import Dataset

Setting = Literal["disjoint", "overlapped", "partitioned"]
"""Which images a task sees. disjoint: those that show a class of the task and none of a later one;
overlapped: all that show a class of the task; partitioned: each image belongs to one task, drawn among those
whose classes it shows. The masks show the task's classes alone in all of them."""

Member = int | str
"""Of a group: a class's name, its number in the data set (background 0), or a range of numbers, `1-15`."""

_RANGE = re.compile(r"(\d+)-(\d+)")


class IncrementalProtocol(BaseModel):
    """A class-incremental protocol: the groups of classes, in the order in which they are learnt.

    The literature writes `15-1` for fifteen classes in the first task and one in each later one (MiB,
    arXiv 2002.00718).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,60}$")]
    source: str = ""
    """Where the groups come from."""
    setting: Setting = "overlapped"
    groups: Annotated[tuple[Annotated[tuple[Member, ...], Field(min_length=1)], ...], Field(min_length=1)]
    seed: Seed = 0
    """Of a partition."""

    @model_validator(mode="after")
    def _members_are_named_once(self) -> Self:
        members = [member for group in self.groups for member in group]
        twice = sorted({str(member) for member in members if members.count(member) > 1})
        if twice:
            raise ValueError(f"named twice: {twice}")
        return self

    def classes_of(self, dataset: Dataset) -> tuple[tuple[str, ...], ...]:
        """Class names by task, in the order of the groups.

        Raises:
            InvalidParameterError: a number or a name is not a class of interest of the data set, or one is in
                two groups.
        """
        names = dataset.classes.names
        groups = tuple(
            tuple(one for member in group for one in _named(member, names)) for group in self.groups
        )
        flat = [name_key(name) for group in groups for name in group]
        known = {name_key(name) for name in names} - {BACKGROUND_CLASS.name}
        unknown, twice = sorted(set(flat) - known), sorted({name for name in flat if flat.count(name) > 1})
        if unknown or twice:
            raise InvalidParameterError(
                f"protocol {self.name!r} on data set {dataset.name!r}: "
                + "; ".join(
                    [f"no class of interest is called {unknown}"] * bool(unknown)
                    + [f"in two groups: {twice}"] * bool(twice)
                )
            )
        return groups


def protocol_names() -> list[str]:
    """Names of the protocols that come with the library."""
    return sorted(
        path.name.removesuffix(".yaml") for path in _folder().iterdir() if path.name.endswith(".yaml")
    )


def read_protocol(name: str | Path, setting: Setting | None = None) -> IncrementalProtocol:
    """A protocol by its name, or from a file of one's own.

    Args:
        name: one of `protocol_names()`, or the path of a YAML file.
        setting: instead of the protocol's own.

    Raises:
        InvalidParameterError: there is none, or the file says none; the message lists every fault.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        text = path.read_text(encoding="utf-8")
    elif str(name) in protocol_names():
        text = (_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    else:
        raise InvalidParameterError(f"{name} is no file and no protocol; those are {protocol_names()}")
    try:
        content = yaml.safe_load(text)
        if not isinstance(content, dict):
            raise InvalidParameterError(f"protocol {name} must be a mapping with name and groups")
        return IncrementalProtocol.model_validate(content | ({} if setting is None else {"setting": setting}))
    except yaml.YAMLError as error:
        raise InvalidParameterError(f"protocol {name} is not YAML: {error}") from error
    except ValidationError as error:
        raise InvalidParameterError(f"protocol {name}: {faults_of(error)}") from error


def _folder() -> Traversable:
    return resources.files("icss_core.continual") / "protocols"


def _named(member: Member, names: tuple[str, ...]) -> list[str]:
    """The class names a member stands for; as it is where it is a name."""
    found = _RANGE.fullmatch(member) if isinstance(member, str) else None
    if isinstance(member, str) and found is None:
        # as the data set spells it, where it has it at all
        return [next((name for name in names if name_key(name) == name_key(member)), member)]
    low, high = (int(member), int(member)) if found is None else map(int, found.groups())
    if not 0 < low <= high < len(names):
        raise InvalidParameterError(
            f"classes {member} are not among the numbers 1 to {len(names) - 1} of this data set"
        )
    return list(names[low : high + 1])
