"""What a town is painted on: colour, class, height and slope of every pixel."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from services.ingest.town.noise import Field

    Colour = tuple[float, float, float]

PIXEL = 0.3
"""Side of a pixel on the ground, metres."""


class Town(IntEnum):
    """Class indices of a town's mask."""

    BACKGROUND = 0
    ROAD = 1
    BUILDING = 2
    VEGETATION = 3
    WATER = 4


@dataclass(frozen=True, slots=True)
class Patch:
    """The pixels near an object, with coordinates along and across it, in metres."""

    place: tuple[slice, slice]
    along: Field
    across: Field


@dataclass(slots=True)
class Canvas:
    """A scene of `height` x `width` pixels while it is painted.

    albedo (H, W, 3) float32 in [0, 1]; labels (H, W) uint8; elevation (H, W) float32, metres over the
    ground; facing (H, W) float32: how much of the sun a slope gets, 1 on flat ground; reserved (H, W) bool:
    where nothing may be built.
    """

    height: int
    width: int
    albedo: Field = field(init=False)
    labels: npt.NDArray[np.uint8] = field(init=False)
    elevation: Field = field(init=False)
    facing: Field = field(init=False)
    reserved: npt.NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.height, self.width)
        self.albedo = np.zeros((*shape, 3), dtype=np.float32)
        self.labels = np.zeros(shape, dtype=np.uint8)
        self.elevation = np.zeros(shape, dtype=np.float32)
        self.facing = np.ones(shape, dtype=np.float32)
        self.reserved = np.zeros(shape, dtype=bool)

    def patch(self, row: float, col: float, angle: float, reach: float) -> Patch | None:
        """Pixels within `reach` metres of a point; None where the patch misses the canvas.

        Args:
            row: Row of the object's centre, pixels.
            col: Column of the object's centre, pixels.
            angle: Direction of the object's length, radians from the column axis towards the row axis.
            reach: Half the side of the patch, metres.
        """
        radius = reach / PIXEL + 1
        top, bottom = max(int(row - radius), 0), min(int(row + radius) + 1, self.height)
        left, right = max(int(col - radius), 0), min(int(col + radius) + 1, self.width)
        if top >= bottom or left >= right:
            return None
        metre = np.float32(PIXEL)
        down = ((np.arange(top, bottom, dtype=np.float32) + np.float32(0.5 - row)) * metre)[:, None]
        right_of = ((np.arange(left, right, dtype=np.float32) + np.float32(0.5 - col)) * metre)[None]
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        return Patch(
            (slice(top, bottom), slice(left, right)), right_of * cos + down * sin, down * cos - right_of * sin
        )

    def paint(
        self,
        place: tuple[slice, slice],
        cover: Field,
        colour: Field | Colour,
        *,
        label: Town | None = None,
        elevation: Field | float | None = None,
        facing: Field | float | None = None,
    ) -> None:
        """Lay something over the pixels of `place`.

        Args:
            place: Rows and columns.
            cover: (h, w) float32 in [0, 1]: the fraction of a pixel that is covered. Where it is over a half,
                class, elevation and facing change too.
            colour: (h, w, 3) or (3,), albedo in [0, 1].
            label: Class of what is painted; None leaves the classes as they are.
            elevation: Metres, (h, w) or one number; None leaves it.
            facing: Fraction of the sun, (h, w) or one number; None leaves it.
        """
        below = self.albedo[place]
        below += cover[..., None] * (np.asarray(colour, dtype=np.float32) - below)
        solid = cover > 0.5
        if label is not None:
            self.labels[place][solid] = label
        for layer, value in ((self.elevation, elevation), (self.facing, facing)):
            if value is not None:
                np.copyto(layer[place], np.asarray(value, dtype=np.float32), where=solid)


def edge(distance: Field) -> Field:
    """Fraction of a pixel inside a shape, from the signed distance (metres, negative inside) to its edge."""
    return np.asarray(np.clip(np.float32(0.5) - distance / np.float32(PIXEL), 0, 1))


def box(patch: Patch, half_length: float, half_width: float, *, along: float = 0, across: float = 0) -> Field:
    """Fraction of each pixel inside a rectangle of the patch's frame; sizes and offset in metres."""
    return edge(
        np.maximum(
            np.abs(patch.along - np.float32(along)) - np.float32(half_length),
            np.abs(patch.across - np.float32(across)) - np.float32(half_width),
        )
    )
