"""Reading a mask file as class indices, with where it lies and what was read as what."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from icss_core.errors import DatasetError, InvalidParameterError
from icss_core.labels import IGNORE
from icss_core.raster.alignment import Grid
from icss_core.raster.reader import open_mask
from icss_core.raster.windows import Window
from services.ingest.label_counts import label_counts
from services.ingest.mask_meaning import MaskMeaning, Readings, colour_reading, hexadecimal, value_readings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from services.ingest.mask_meaning import Colour

    Indices = npt.NDArray[np.uint8]

_ROWS: Final = 512
"""How many rows of a mask of colours are looked up at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A mask as it was read."""

    labels: Indices
    """(H, W), indices of the data set's classes, 255 = ignore."""
    grid: Grid
    """Where its pixels lie."""
    name: str
    """Of the file, for messages."""
    readings: Readings

    def with_ignored(self, index: int) -> Mask:
        """The same with one index read as ignore."""
        return self.with_changed({index: IGNORE})

    def with_changed(self, changes: Mapping[int, int]) -> Mask:
        """The same with some indices read as others."""
        table = np.arange(256, dtype=np.uint8)
        table[list(changes)] = list(changes.values())
        readings = Counter[tuple[str, int]]()
        for (what, read_as), pixels in self.readings.items():
            readings[what, changes.get(read_as, read_as)] += pixels
        return replace(self, labels=table[self.labels], readings=readings)


def read_mask(path: Path, meaning: MaskMeaning) -> Mask:
    """A mask as class indices.

    One band holds values, or colours by its palette; three hold colours. Alpha is passed over, but for
    transparent pixels that mean nothing: they are ignored, and so are pixels of a nodata value that means
    nothing. Whole numbers may be stored as floats, and values as grey in three bands.

    Args:
        path: file of a format that keeps every value.
        meaning: of its values and colours.

    Raises:
        ImageNotFoundError, ImageUnreadableError: it cannot be read.
        DatasetError: a value or colour that means nothing, or not one thing; the message says which, and what
            to write in classes.yaml.
        InvalidParameterError: a tolerance at which one colour could be taken for another.
    """
    with open_mask(path) as raster:
        values, there = raster.read_stored(Window(0, 0, raster.height, raster.width))
        grid, absent = Grid.of(raster), ~there
        nodata, palette = raster.nodata, raster.colour_table
    if len(values) == 1:
        whole = _whole_numbers(values[0], nodata, path)
        return _of_values(whole, absent, palette or {}, meaning, grid, str(path))
    if len(values) != 3 or values.dtype != np.uint8:
        raise DatasetError(
            f"{path}: a mask has one band of indices or 8-bit colours, not {len(values)} bands of "
            f"{values.dtype}"
        )
    if meaning.tolerance == 0 and _is_grey(values) and not _are_colours(np.unique(values[0]), meaning):
        return _of_values(values[0], absent, {}, meaning, grid, str(path))
    if not meaning.colours:
        raise DatasetError(
            f"{path} is a mask of colours, and no class has a colour to look up; give each class of "
            "classes.yaml one: {name: building, colour: [226, 72, 52]}"
        )
    labels, readings = _of_colours(values, absent, meaning, path)
    return Mask(labels, grid, str(path), readings)


def _whole_numbers(values: npt.NDArray[Any], nodata: float | None, path: Path) -> Indices:
    """One band of any type as uint8: what is not there, NaN or a nodata value beyond 0 to 255, is ignored."""
    if values.dtype == np.uint8:
        return values
    absent = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if nodata is not None and not 0 <= nodata <= IGNORE:
        absent |= values == nodata
    wrong = ~absent & ((values < 0) | (values > IGNORE) | (values != np.rint(values)))
    if wrong.any():
        row, col = np.argwhere(wrong)[0]
        kind = f" of {values.dtype}" if values.dtype.kind == "f" else ""
        raise DatasetError(
            f"{path}: mask values must be whole numbers from 0 to 255; row {row}, column {col} of this mask"
            f"{kind} is {values[row, col]}"
        )
    return np.where(absent, IGNORE, values).astype(np.uint8)


def _of_values(
    values: Indices,
    absent: npt.NDArray[np.bool_],
    palette: Mapping[int, tuple[int, int, int, int]],
    meaning: MaskMeaning,
    grid: Grid,
    name: str,
) -> Mask:
    counts = label_counts(values)
    present = np.flatnonzero(counts).tolist()
    # values that stand only where the file says that nothing is: they need no meaning
    there = np.flatnonzero(label_counts(values[~absent])).tolist() if absent.any() else present
    colours = {value: palette[value][:3] for value in present if value in palette}
    holes = [value for value in present if value not in there and meaning.of_value(value) is None]
    of = meaning.of_values([value for value in present if value not in holes], colours, name=name)
    of |= dict.fromkeys(holes, IGNORE)
    table = np.full(256, IGNORE, np.uint8)
    table[list(of)] = list(of.values())
    return Mask(table[values], grid, name, value_readings(counts, of, colours))


def _is_grey(values: npt.NDArray[np.uint8]) -> bool:
    return bool((values[0] == values[1]).all() and (values[0] == values[2]).all())


def _are_colours(levels: npt.NDArray[np.uint8], meaning: MaskMeaning) -> bool:
    """Whether each of some greys is the colour of a class."""
    return all((level, level, level) in meaning.colours for level in levels.tolist())


def _of_colours(
    values: npt.NDArray[np.uint8], absent: npt.NDArray[np.bool_], meaning: MaskMeaning, path: Path
) -> tuple[Indices, Readings]:
    rounded = _rounding(meaning.colours, meaning.tolerance)
    labels = np.empty(values.shape[1:], dtype=np.uint8)
    readings = Counter[tuple[str, int]]()
    for top in range(0, values.shape[1], _ROWS):  # packed colours take four bytes a pixel: not all at once
        part = values[:, top : top + _ROWS]
        labels[top : top + _ROWS], listed = _indices(rounded[part], meaning.colours, readings)
        unlisted = ~listed & ~absent[top : top + _ROWS]
        if unlisted.any():
            row, col = np.argwhere(unlisted)[0]
            odd = colour_reading(tuple(part[:, row, col].tolist()))
            known = ", ".join(map(hexadecimal, meaning.colours))
            raise DatasetError(
                f"{path}: {odd} at row {top + row}, column {col} belongs to no class; classes have {known}"
            )
    return labels, readings


def _indices(
    colours: npt.NDArray[np.uint8], palette: Mapping[Colour, int], readings: Counter[tuple[str, int]]
) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """Indices (H, W) of colours (3, H, W), and where a colour is in the palette at all."""
    packed = _pack(colours.astype(np.uint32))
    mask = np.full(packed.shape, IGNORE, dtype=np.uint8)
    listed = np.zeros(packed.shape, dtype=bool)
    for colour, index in palette.items():
        where = packed == _pack(np.asarray(colour, dtype=np.uint32))
        pixels = int(np.count_nonzero(where))
        if pixels:
            mask[where] = index
            listed |= where
            readings[colour_reading(colour), index] += pixels
    return mask, listed


def _rounding(palette: Mapping[Colour, int], tolerance: int) -> npt.NDArray[np.uint8]:
    """Table (256,) from a channel's value to the palette's value within the tolerance, or to itself."""
    levels = np.unique(np.asarray(list(palette), dtype=np.int16))
    if tolerance < 0 or (np.diff(levels) <= 2 * tolerance).any():
        raise InvalidParameterError(
            f"a tolerance of {tolerance} does not tell the channel values {levels.tolist()} apart"
        )
    table = np.arange(256, dtype=np.uint8)
    for level in levels:
        table[max(level - tolerance, 0) : level + tolerance + 1] = level
    return table


def _pack(colour: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    return np.asarray((colour[0] << 16) | (colour[1] << 8) | colour[2], dtype=np.uint32)
