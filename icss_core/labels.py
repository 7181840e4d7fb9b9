"""The label space: which class has which index, name and colour."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from icss_core.errors import ClassExistsError, UnknownClassError

BACKGROUND: Final = 0
"""Index of the background class in every label space."""
IGNORE: Final = 255
"""Value of pixels without label or without data, in masks and in written maps."""

Channel = Annotated[int, Field(ge=0, le=255)]


class ClassInfo(BaseModel):
    """One class: its name, unique in a label space, and its colour as 8-bit (red, green, blue)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^\S(.*\S)?$")]
    colour: tuple[Channel, Channel, Channel]


class LabelSpace(BaseModel):
    """Ordered classes; the position of a class is its index in masks, logits and maps.

    Index 0 is the background. Index 255 is never a class: it means ignore or no data. A label space only
    ever grows at its end, so an index once given keeps its meaning in all later versions of a model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: Annotated[tuple[ClassInfo, ...], Field(min_length=1, max_length=255)]

    @model_validator(mode="after")
    def _names_are_unique(self) -> LabelSpace:
        folded = [name.casefold() for name in self.names]
        if len(set(folded)) != len(folded):
            raise ValueError(f"class names must differ (case does not count): {list(self.names)}")
        return self

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by index."""
        return tuple(info.name for info in self.classes)

    @property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        """Colours by index, 8-bit (red, green, blue)."""
        return tuple(info.colour for info in self.classes)

    @property
    def classes_of_interest(self) -> tuple[int, ...]:
        """All indices but the background's."""
        return tuple(range(1, len(self.classes)))

    def index(self, name: str) -> int:
        """Index of a class by name, case folded.

        Raises:
            UnknownClassError: no class has this name; the message lists those there are.
        """
        for position, known in enumerate(self.names):
            if known.casefold() == name.casefold():
                return position
        raise UnknownClassError(f"unknown class {name!r}; the model knows {list(self.names)}")

    def extend(self, *new: ClassInfo) -> LabelSpace:
        """A label space with the new classes after the old ones, whose indices stay.

        Raises:
            ClassExistsError: a new name is already taken (case does not count).
        """
        taken = {name.casefold() for name in self.names}
        for info in new:
            if info.name.casefold() in taken:
                raise ClassExistsError(
                    f"class {info.name!r} is already in the label space {list(self.names)}; "
                    "choose another name, or another model version without it"
                )
            taken.add(info.name.casefold())
        return LabelSpace(classes=(*self.classes, *new))
