"""How a protocol names classes: by name, by number, or by a range of numbers of the data set."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from icss_core.errors import InvalidParameterError
from icss_core.labels import name_key

if TYPE_CHECKING:
    from collections.abc import Sequence

Member = int | str
"""Names classes in a group: a class name, a class number of the data set (the background is 0), or a range of
numbers such as `1-15`."""

_RANGE: Final = re.compile(r"(\d+)-(\d+)")


def named_by(members: Sequence[Member], names: Sequence[str]) -> tuple[str, ...]:
    """The class names that the members of a group stand for.

    Args:
        members: of the group.
        names: of all classes of a data set, the background first.

    Returns:
        Names as the data set spells them; names that it does not have as they were given.

    Raises:
        InvalidParameterError: a number is no class of interest.
    """
    return tuple(name for member in members for name in _named(member, names))


def _named(member: Member, names: Sequence[str]) -> Sequence[str]:
    numbers = _RANGE.fullmatch(member) if isinstance(member, str) else None
    if isinstance(member, str) and numbers is None:
        return [next((name for name in names if name_key(name) == name_key(member)), member)]
    low, high = (int(member), int(member)) if numbers is None else map(int, numbers.groups())
    if not 0 < low <= high < len(names):
        raise InvalidParameterError(
            f"classes {member} are not among the numbers 1 to {len(names) - 1} of this data set"
        )
    return names[low : high + 1]
