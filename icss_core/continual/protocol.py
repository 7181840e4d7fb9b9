"""Protocols: which classes of a data set are learnt together, and in which order."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from icss_core.continual.members import Member, named_by
from icss_core.continual.weighted_score import WeightedScore
from icss_core.dataset import BACKGROUND_CLASS
from icss_core.errors import InvalidParameterError, faults_of
from icss_core.labels import name_key
from icss_core.seed import Seed
from icss_core.text_file import read_text

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from icss_core.dataset import Dataset

Setting = Literal["disjoint", "overlapped", "partitioned"]
"""Which images a task sees.

disjoint: images that show a class of the task and no class of a later task.
overlapped: all images that show a class of the task.
partitioned: each image belongs to one task, drawn at random among the tasks whose classes it shows.

In all three settings the masks show only the classes of the task.
"""


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
    """Decides which task an image belongs to in the setting `partitioned`."""
    score: WeightedScore | None = None
    """What results are ranked by, where that is another number than a mean over all classes."""

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
        groups = tuple(named_by(group, names) for group in self.groups)
        flat = [name_key(name) for group in groups for name in group]
        of_interest = {name_key(name) for name in names} - {BACKGROUND_CLASS.name}
        unknown = sorted(set(flat) - of_interest)
        twice = sorted({name for name in flat if flat.count(name) > 1})
        if unknown or twice:
            raise InvalidParameterError(
                f"protocol {self.name!r} on data set {dataset.name!r}: "
                + "; ".join(
                    [f"no class of interest is called {unknown}"] * bool(unknown)
                    + [f"in two groups: {twice}"] * bool(twice)
                )
            )
        return groups

    def score_of(self, dataset: Dataset) -> WeightedScore | None:
        """The score with the data set's class names; None if the protocol states none.

        Raises:
            InvalidParameterError: it names a class that no task learns, or one twice.
        """
        if self.score is None:
            return None
        learnt = {name_key(name) for group in self.classes_of(dataset) for name in group}
        score = self.score.on(dataset.classes.names)
        scored = [name_key(str(name)) for name in score.members]
        wrong = sorted({name for name in scored if name not in learnt or scored.count(name) > 1})
        if wrong:
            raise InvalidParameterError(
                f"protocol {self.name!r} on data set {dataset.name!r}: score {score.name!r} names classes "
                f"twice, or that no task learns: {wrong}"
            )
        return score


def protocol_names() -> list[str]:
    """Names of the protocols that come with the library."""
    return sorted(
        path.name.removesuffix(".yaml") for path in _folder().iterdir() if path.name.endswith(".yaml")
    )


def read_protocol(name: str | Path, setting: Setting | None = None) -> IncrementalProtocol:
    """A protocol that comes with the library, or one read from a YAML file.

    Args:
        name: one of `protocol_names()`, or the path of a YAML file.
        setting: replaces the setting that the protocol names; None: keep that one.

    Raises:
        InvalidParameterError: there is no such protocol or file, or the file is wrong; the message lists
            every fault.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        text = read_text(path, InvalidParameterError)
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
