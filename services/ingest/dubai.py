"""The Dubai set (Humans in the Loop with MBRSC, CC0): satellite RGB, five classes drawn densely.

Two layouts are read: the published one (`Tile 1/images/image_part_001.jpg` with masks of colours beside it,
https://humansintheloop.org/resources/datasets/semantic-segmentation-dataset-2/) and a flat one
(`images/t1_part001.jpg`, `masks/t1_part001.png` of class indices, `split.csv` with columns name and split).
The images lie nowhere on the map: their clicks are given in pixels.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from icss_core.errors import DatasetError
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.text_file import read_table
from services.ingest.mask_file import read_mask
from services.ingest.mask_meaning import coloured
from services.ingest.writer import DatasetWriter

if TYPE_CHECKING:
    from pathlib import Path

    from icss_core.dataset import Dataset, Split
    from services.ingest.writer import Progress
    from services.storage import Storage

DUBAI_CLASSES: Final = LabelSpace(
    classes=(
        ClassInfo(name="land", colour=(0x84, 0x29, 0xF6)),
        ClassInfo(name="building", colour=(0x3C, 0x10, 0x98)),
        ClassInfo(name="road", colour=(0x6E, 0xC1, 0xE4)),
        ClassInfo(name="vegetation", colour=(0xFE, 0xDD, 0x3A)),
        ClassInfo(name="water", colour=(0xE2, 0xA9, 0x29)),
    )
)
"""Label space of the set; land, the unpaved area, is its background. Colours are those of its masks."""
_UNLABELLED: Final = ((0x9B, 0x9B, 0x9B), (0, 0, 0))
_VALIDATION_PARTS: Final = (3, 6)
"""Parts of each tile kept for validation in the published layout, which has no split of its own."""
_NOTES: Final = (
    "Semantic segmentation of aerial imagery, Humans in the Loop and Mohammed Bin Rashid Space Centre, "
    "CC0 1.0. Not georeferenced: clicks are given in pixels."
)


def ingest_dubai(storage: Storage, source: Path, prefix: str, *, on_scene: Progress | None = None) -> Dataset:
    """Convert the set to GeoTIFFs under an s3:// prefix.

    Raises:
        DatasetError: the folder has neither layout, a file is missing, or a mask does not fit.
    """
    scenes = _flat(source) if (source / "split.csv").is_file() else _published(source)
    meaning = coloured(DUBAI_CLASSES, ignored=_UNLABELLED)
    writer = DatasetWriter(storage, prefix, name="dubai", classes=DUBAI_CLASSES)
    for number, (name, split, image, mask) in enumerate(scenes, start=1):
        for path in (image, mask):
            if not path.is_file():
                raise DatasetError(f"scene {name!r}: no file {path}")
        writer.add_file(name, image, read_mask(mask, meaning), split=split)
        if on_scene is not None:
            on_scene(number, len(scenes), name)
    return writer.finish(notes=_NOTES)


def _flat(source: Path) -> list[tuple[str, Split, Path, Path]]:
    """Scenes of the layout with split.csv, in its order."""
    scenes: list[tuple[str, Split, Path, Path]] = []
    for row in read_table(source / "split.csv", ("name", "split"), DatasetError):
        name, split = row.values["name"], row.values["split"]
        if not name or split not in ("train", "val", "test"):
            raise DatasetError(
                f"{source / 'split.csv'}, line {row.line}: needs a name, and train, val or test"
            )
        scenes.append(
            (name, split, source / "images" / f"{name}.jpg", source / "masks" / f"{name}.png")  # type: ignore[arg-type]
        )
    return scenes


def _published(source: Path) -> list[tuple[str, Split, Path, Path]]:
    """Scenes of the published layout, by tile and part."""
    scenes: list[tuple[str, Split, Path, Path]] = []
    for tile in sorted(source.glob("Tile *")):
        for image in sorted((tile / "images").glob("image_part_*.jpg")):
            part = re.fullmatch(r"image_part_(\d+)", image.stem)
            if part is None:
                continue
            name = f"t{tile.name.removeprefix('Tile ')}_part{part[1]}"
            split: Split = "val" if int(part[1]) in _VALIDATION_PARTS else "train"
            scenes.append((name, split, image, tile / "masks" / f"{image.stem}.png"))
    if not scenes:
        raise DatasetError(
            f"{source} does not look like the Dubai set: neither split.csv with images/ and masks/, "
            "nor folders 'Tile 1' to 'Tile 8' with images/image_part_001.jpg"
        )
    return scenes
