"""What the values and colours of masks stand for, and what they were read as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from icss_core.errors import DatasetError
from icss_core.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt

    from icss_core.labels import LabelSpace

Colour: TypeAlias = tuple[int, int, int]
Readings: TypeAlias = Mapping[tuple[str, int], int]
"""Pixels by what stands in the file ("value 3", "colour #0000FF") and the index that it was read as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskMeaning:
    """What masks of one data set hold."""

    classes: LabelSpace
    values: Mapping[int, int] = field(default_factory=dict)
    """Index of each value, 255 for ignore; empty: a value is the index itself."""
    colours: Mapping[Colour, int] = field(default_factory=dict)
    """Index of each colour that somebody gave to a class."""
    tolerance: int = 0
    """How far each channel of a pixel may be from that of its class's colour: for masks that were once stored
    with loss, so that no pixel has quite the colour it was drawn in."""

    def of_value(self, value: int) -> int | None:
        """Index of a value; None where it means nothing."""
        if self.values:
            return self.values.get(value, IGNORE if value == IGNORE else None)
        return value if value < len(self.classes) or value == IGNORE else None

    def of_values(
        self, present: Iterable[int], palette: Mapping[int, Colour], *, name: str
    ) -> dict[int, int]:
        """Index of each value of one mask, by its number or by the colour that its palette draws it in.

        The colours decide where each is a class's: that is what people saw. Elsewhere the numbers do. Where a
        number and its colour say different things, and nothing tells which is meant, the mask is refused.
        Where numbers mean nothing and the mask has no palette, grey is looked up as a colour: 0 and 255 as
        black and white.

        Args:
            present: values that occur in the mask, 0 to 255.
            palette: colour of each of them; empty: it has no palette.
            name: of the file, for messages.

        Raises:
            DatasetError: a value means nothing, or two things.
        """
        present = sorted(present)
        by_value = {value: self.of_value(value) for value in present}
        drawn = palette or {value: (value, value, value) for value in present}
        by_colour = {value: self.colours.get(drawn[value]) for value in present if value in drawn}
        plain = [value for value in present if value != IGNORE or by_colour.get(value) is not None]
        all_drawn = bool(plain) and all(by_colour.get(value) is not None for value in plain)
        disagree = [
            value
            for value in present
            if None not in (by_value[value], by_colour.get(value)) and by_value[value] != by_colour[value]
        ]
        if palette and disagree and (self.values or not all_drawn):
            value = disagree[0]
            raise DatasetError(
                f"{name}: value {value} is {self._called(by_value[value])} by its number, and drawn in the "
                f"colour of {self._called(by_colour[value])} ({hexadecimal(drawn[value])}) by the file's "
                "palette; save the mask without a palette, or give classes.yaml the colours of the palette"
            )
        by_grey = not palette and any(self._is_no_class(value) for value in present)
        if all_drawn and not self.values and (palette or by_grey):
            return {value: _either(by_colour.get(value), IGNORE) for value in present}
        unknown = [value for value in present if by_value[value] is None]
        if unknown:
            raise DatasetError(f"{name}: mask values {unknown} are no class; {self._known()}")
        return {value: _either(by_value[value], IGNORE) for value in present}

    def _is_no_class(self, value: int) -> bool:
        return self.of_value(value) in {None, IGNORE}

    def _called(self, index: int | None) -> str:
        return "ignored" if index in {None, IGNORE} else repr(self.classes.names[index or 0])

    def _known(self) -> str:
        if self.values:
            return f"known are {sorted({IGNORE, *self.values})}; classes.yaml says what values mean"
        count, names = len(self.classes), ", ".join(self.classes.names)
        return (
            f"there are {count} classes ({names}) with indices from 0, and 255 for ignore; a mapping in "
            "classes.yaml says what other values mean, such as '255: building'"
        )


def coloured(classes: LabelSpace, *, ignored: Iterable[Colour] = (), tolerance: int = 0) -> MaskMeaning:
    """Masks in the classes' own colours; pixels of the colours `ignored` count for nothing."""
    colours = {info.colour: index for index, info in enumerate(classes.classes)}
    return MaskMeaning(classes=classes, colours=colours | dict.fromkeys(ignored, IGNORE), tolerance=tolerance)


def value_readings(
    counts: npt.NDArray[np.int64], meaning: Mapping[int, int], palette: Mapping[int, Colour]
) -> dict[tuple[str, int], int]:
    """Readings of a mask of values.

    Args:
        counts: (256,) pixels by value.
        meaning: index by value.
        palette: colour by value, where there is a palette.
    """
    return {
        (f"value {value}{f' {hexadecimal(palette[value])}' if value in palette else ''}", index): int(
            counts[value]
        )
        for value, index in meaning.items()
    }


def colour_reading(colour: Colour) -> str:
    """How a colour is named in a table."""
    return f"colour {hexadecimal(colour)}"


def hexadecimal(colour: Colour) -> str:
    """Such as #0000FF."""
    return "#{:02X}{:02X}{:02X}".format(*colour)


def _either(index: int | None, otherwise: int) -> int:
    return otherwise if index is None else index
