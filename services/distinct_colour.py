"""A colour for a class that came without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Rgb: TypeAlias = tuple[int, int, int]

PALETTE: Final[tuple[Rgb, ...]] = (
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (67, 99, 216), (245, 130, 49), (145, 30, 180),
    (66, 212, 244), (240, 50, 230), (191, 239, 69), (250, 190, 212), (70, 153, 144), (220, 190, 255),
    (154, 99, 36), (255, 250, 200), (128, 0, 0), (170, 255, 195), (128, 128, 0), (255, 216, 177), (0, 0, 117),
)  # fmt: skip
"""Colours that people tell apart, the most distinct first (S. Trubetskoy's 20 simple colours)."""


def distinct_colour(taken: Iterable[Rgb]) -> Rgb:
    """The colour of the palette farthest from all that are taken (Euclidean in RGB); of equals the first.

    Args:
        taken: 8-bit (red, green, blue) of the other classes.
    """
    used = list(taken)

    def distance(colour: Rgb) -> int:
        return min((sum((a - b) ** 2 for a, b in zip(colour, one, strict=True)) for one in used), default=0)

    return max(PALETTE, key=distance)
