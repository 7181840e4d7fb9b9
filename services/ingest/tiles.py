"""Published sets of tiles: files found by name, splits by name, and what a download lacks.

Downloads of one set unpack into different folders (nested twice, renamed, or all in one), but the names of
the files stay. So a file is known by its name, wherever it lies below the source, and by its folder only
where an image and its mask have the same name, or two folders hold the same masks.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from icss_core.errors import DatasetError, InvalidParameterError
from icss_core.raster.formats import GEOTIFF
from services.ingest.mask_file import read_mask
from services.ingest.mask_meaning import coloured
from services.ingest.writer import DatasetWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from icss_core.dataset import Dataset, Split
    from icss_core.labels import LabelSpace
    from services.ingest.mask_meaning import Colour
    from services.ingest.writer import Progress
    from services.storage import Storage

_T = TypeVar("_T")


class FileName(NamedTuple):
    """What one kind of file of a set is called: `#` stands for a number of the tile, case does not count."""

    stem: str
    """The name without its ending, such as `top_potsdam_#_#_RGB`."""
    folder: str = ".*"
    """Regular expression of the name of the folder that the file lies in."""

    def numbers(self, path: Path) -> tuple[int, ...] | None:
        """Numbers of the tile that a file belongs to; None for another kind of file."""
        stem = re.fullmatch(re.escape(self.stem).replace(r"\#", r"(\d+)"), path.stem, re.IGNORECASE)
        if stem is None or re.fullmatch(self.folder, path.parent.name, re.IGNORECASE) is None:
            return None
        return tuple(int(number) for number in stem.groups())

    def of(self, tile: str) -> str:
        """Name of this kind of file for one tile, for messages."""
        numbers = iter(tile.split("_"))
        name = re.sub("#", lambda _: next(numbers), self.stem) + ".tif"
        return f"{self.folder}/{name}" if re.fullmatch(r"\w+", self.folder) else name


class HeldOut(NamedTuple):
    """A way to split a set: the tiles that are not trained on, and which part of the data set they make."""

    part: Split
    tiles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """One edition of a set's ground truth."""

    files: tuple[FileName, ...]
    """Names that its files may have; where a tile has several, the first counts."""
    ignored: tuple[Colour, ...] = ()
    """Colours of pixels that count neither for nor against any class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileSet:
    """What is known of a published set of tiles."""

    name: str
    classes: LabelSpace
    """Classes with the colours of the masks."""
    tiles: tuple[str, ...]
    """Every tile that was published, by its numbers."""
    images: Mapping[str, FileName]
    """Image files by the bands that they hold."""
    splits: Mapping[str, HeldOut]
    tolerances: Mapping[str, int] = field(default_factory=dict)
    """Tiles whose masks are known to be off their colours, and how far in any channel."""
    notes: str


def ingest_tiles(
    storage: Storage,
    source: Path,
    prefix: str,
    tiles: TileSet,
    masks: Masks,
    *,
    bands: str,
    split: str,
    partial: bool,
    on_scene: Progress | None,
) -> Dataset:
    """Convert a published set to GeoTIFFs under an s3:// prefix, one tile in memory at a time.

    Args:
        storage: Where it goes.
        source: Folder of the download, with any folders in it.
        prefix: s3:// prefix of the data set.
        tiles: What is known of the set.
        masks: Which of its ground truths to take. A tile without a mask becomes part of the split `test`.
        bands: Which of its images to take.
        split: Which of its splits to make; what it does not hold out is to train on.
        partial: Whether tiles may be missing; the data set's notes then name them.
        on_scene: Called after each tile.

    Raises:
        InvalidParameterError: the set has no such bands or split.
        DatasetError: no image or no mask was found, one is missing or there twice, or a mask does not fit.
    """
    images = _option(tiles.images, bands, "bands")
    held_out = _option(tiles.splits, split, "split")
    writer = DatasetWriter(storage, prefix, name=tiles.name, classes=tiles.classes)
    files = _rasters(source)
    image_of = _by_tile(files, (images,), tiles.tiles)
    mask_of = _by_tile(files, masks.files, tiles.tiles)
    if not image_of:
        raise DatasetError(_nothing(source, tiles, "image", (images,)) + _other_bands(files, tiles))
    if not mask_of:
        raise DatasetError(_nothing(source, tiles, "mask", masks.files))
    lacking = [tile for tile in tiles.tiles if tile not in image_of]
    if lacking and not partial:
        raise DatasetError(
            f"{source} has {len(image_of)} of the {len(tiles.tiles)} images of the set {tiles.name!r}; there "
            f"is no {', no '.join(images.of(tile) for tile in lacking)}. With --partial they are left out"
        )
    for number, tile in enumerate(image_of, start=1):
        name = f"{tiles.name}_{tile}"
        mask = None
        if tile in mask_of:
            tolerance = tiles.tolerances.get(tile, 0)
            meaning = coloured(tiles.classes, ignored=masks.ignored, tolerance=tolerance)
            mask = read_mask(mask_of[tile], meaning)
        part: Split = "test" if mask is None else held_out.part if tile in held_out.tiles else "train"
        # no published image has an alpha band: one that GDAL takes for it is infrared
        writer.add_file(name, image_of[tile], mask, split=part, alpha_is_data=True)
        if on_scene is not None:
            on_scene(number, len(image_of), name)
    unlabelled = [tile for tile in image_of if tile not in mask_of]
    return writer.finish(notes=" ".join(_notes(tiles, bands, split, lacking=lacking, unlabelled=unlabelled)))


def _option(options: Mapping[str, _T], name: str, what: str) -> _T:
    if name not in options:
        raise InvalidParameterError(f"{what} must be one of {', '.join(options)}, not {name!r}")
    return options[name]


def _rasters(source: Path) -> list[Path]:
    """Every TIFF below a folder, in order; through links too, for sets that lie spread over disks."""
    return sorted(
        Path(folder) / file
        for folder, _, files in os.walk(source, followlinks=True)
        for file in files
        if Path(file).suffix.lower() in GEOTIFF.extensions
    )


def _by_tile(files: Iterable[Path], names: Sequence[FileName], tiles: Sequence[str]) -> dict[str, Path]:
    """The file of each tile, in the tiles' order, under the first of the names that it has one of.

    Raises:
        DatasetError: two files of a tile have the same name, or a file is of no tile of the set.
    """
    published = {tuple(int(number) for number in tile.split("_")): tile for tile in tiles}
    chosen: dict[str, Path] = {}
    for name in names:
        here: dict[str, Path] = {}
        for path in files:
            numbers = name.numbers(path)
            if numbers is None:
                continue
            if numbers not in published:
                raise DatasetError(f"{path} is of none of the set's tiles, which are {', '.join(tiles)}")
            tile = published[numbers]
            if tile in chosen:
                continue
            if tile in here:
                raise DatasetError(f"{here[tile]} and {path} are both of tile {tile}; keep the right one")
            here[tile] = path
        chosen |= here
    return {tile: chosen[tile] for tile in tiles if tile in chosen}


def _nothing(source: Path, tiles: TileSet, kind: str, names: Sequence[FileName]) -> str:
    """What to say where a folder has no file of a kind."""
    expected = " or ".join(dict.fromkeys(name.of(tiles.tiles[0]) for name in names))
    return f"{source} has no {kind} of the set {tiles.name!r}: no file like {expected} is in it or below it"


def _other_bands(files: Sequence[Path], tiles: TileSet) -> str:
    """A hint for folders that have images of other bands."""
    there = [bands for bands, name in tiles.images.items() if _by_tile(files, (name,), tiles.tiles)]
    return f"; it has those for --bands {' and '.join(there)}" if there else ""


def _notes(
    tiles: TileSet, bands: str, split: str, *, lacking: Sequence[str], unlabelled: Sequence[str]
) -> Iterable[str]:
    """What dataset.yaml says about this conversion, sentence by sentence."""
    yield tiles.notes
    yield f"Bands {bands}, split {split}."
    if lacking:
        yield f"Left out, as the download has no image: tiles {', '.join(lacking)}."
    if unlabelled:
        yield f"For test, as there is no mask: tiles {', '.join(unlabelled)}."
