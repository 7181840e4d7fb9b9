"""The label space: which class has which index, name and colour."""

from __future__ import annotations

import unicodedata
from functools import cached_property
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from icss_core.errors import ClassExistsError, TooManyClassesError, UnknownClassError

BACKGROUND: Final = 0
"""Index of the background class in every label space."""
IGNORE: Final = 255
"""Value of pixels without label or without data, in masks and in written maps."""
CLASS_LIMIT: Final = IGNORE
"""Classes that a label space may have, the background included: their indices are below `IGNORE`."""

Channel = Annotated[int, Field(ge=0, le=255)]

_JOINERS: Final = frozenset("\u200c\u200d")
"""Zero width non-joiner and joiner: Persian and emoji (a family, a profession) are spelled with them."""
_SELECTORS: Final = frozenset(map(chr, range(0xFE00, 0xFE10)))
"""Variation selectors: a sign as text or as emoji; keyboards differ in whether they send one."""
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and signs by their category that are drawn as nothing."""
_REFUSED: Final = {
    "Cc": "a control character",
    "Cf": "an invisible character",
    "Zl": "a line break",
    "Zp": "a line break",
    "Cn": "an unassigned character",
    "Cs": "half a character",
}
_PICTOGRAPHS: Final = range(0x1F000, 0x1FB00)
"""Reserved for emoji; newer ones than this Python knows are in there."""


def name_key(name: str) -> str:
    """What two spellings of one class name have in common; compare names by it, and show them as they are.

    Case, composed or decomposed accents (Unicode canonical caseless matching), amount and kind of white
    space, and characters that are not drawn make no difference: `straße`, `Straße ` and `STRASSE` are one.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
    return " ".join("".join(sign for sign in folded if sign not in _JOINERS | _SELECTORS).split())


def _legible(name: str) -> str:
    """The name in composed form (NFC), if people can read it."""
    if name != name.strip():
        raise ValueError(f"a class name neither starts nor ends with white space: {name!r}")
    for sign in name:
        category = unicodedata.category(sign)
        invisible = (category in _REFUSED and sign not in _JOINERS) or sign in _BLANK
        if invisible and not (category == "Cn" and ord(sign) in _PICTOGRAPHS):
            what = _REFUSED.get(category, "an invisible character")
            raise ValueError(f"a class name is plain text; {name!r} has {what}, U+{ord(sign):04X}")
    if not any(unicodedata.category(sign)[0] in "LNPS" or ord(sign) in _PICTOGRAPHS for sign in name):
        raise ValueError(f"a class name has at least one letter, digit or sign: {name!r}")
    return unicodedata.normalize("NFC", name)


ClassName = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_legible)]
"""Text of at most 64 characters in any script, without control characters and what cannot be seen."""


def from_hexadecimal(value: Any) -> Any:
    """`#rrggbb` as (red, green, blue); anything else as it came, for the type to judge."""
    if isinstance(value, str) and len(value) == 7 and value.startswith("#"):
        try:
            return tuple(bytes.fromhex(value[1:]))
        except ValueError:
            return value
    return value


class ClassInfo(BaseModel):
    """One class: its name, unique in a label space, and its colour as 8-bit (red, green, blue).

    The colour may be given as `#rrggbb`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassName
    colour: Annotated[tuple[Channel, Channel, Channel], BeforeValidator(from_hexadecimal)]


def check_number_of_classes(number: int) -> None:
    """Refuse more classes than there may be.

    Args:
        number: of all classes, the background included.

    Raises:
        TooManyClassesError: they are too many.
    """
    if number > CLASS_LIMIT:
        raise TooManyClassesError(
            f"{number} classes; a model has at most {CLASS_LIMIT}, the background included, because maps "
            f"have 8 bits and {IGNORE} in them means no data: leave classes out, or join some"
        )


class LabelSpace(BaseModel):
    """Ordered classes; the position of a class is its index in masks, logits and maps.

    Index 0 is the background. Index 255 is never a class: it means ignore or no data. A label space only
    ever grows at its end, so an index once given keeps its meaning in all later versions of a model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: Annotated[tuple[ClassInfo, ...], Field(min_length=1, max_length=CLASS_LIMIT)]

    @model_validator(mode="after")
    def _names_are_unique(self) -> LabelSpace:
        if len(self._by_key) < len(self.classes):
            twice = [name for at, name in enumerate(self.names) if self._by_key[name_key(name)] != at]
            raise ValueError(
                "class names must differ in more than case, white space and the encoding of accents; "
                f"there already is one like {twice[0]!r} in {list(self.names)}"
            )
        return self

    @cached_property
    def _by_key(self) -> dict[str, int]:
        """Index by `name_key`; of equal names the last."""
        return {name_key(name): position for position, name in enumerate(self.names)}

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
        """Index of a class by any spelling of its name; see `name_key`.

        Raises:
            UnknownClassError: no class has this name; the message lists those there are.
        """
        position = self._by_key.get(name_key(name))
        if position is None:
            raise UnknownClassError(f"unknown class {name!r:.120}; the model knows {list(self.names)}")
        return position

    def extend(self, *new: ClassInfo) -> LabelSpace:
        """A label space with the new classes after the old ones, whose indices stay.

        Raises:
            ClassExistsError: a new name is already taken, perhaps in another spelling.
            TooManyClassesError: more classes than there may be.
        """
        check_number_of_classes(len(self) + len(new))
        taken = set(self._by_key)
        for info in new:
            if name_key(info.name) in taken:
                raise ClassExistsError(
                    f"class {info.name!r} is already in the label space {list(self.names)}; "
                    "choose another name, or another model version without it"
                )
            taken.add(name_key(info.name))
        return LabelSpace(classes=(*self.classes, *new))
