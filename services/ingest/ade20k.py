"""ADE20K as the scene parsing challenge of 2016 published it: 150 classes of things and stuff.

`images/training/ADE_train_00000001.jpg` with `annotations/training/ADE_train_00000001.png`, and `validation`
alike; mask values 1 to 150 by frequency, 0 for everything else. What 0 is differs: the challenge ignores it,
MiB trains it as background and ignores it only where it scores. Names come from the download's own
`objectInfo150.txt`.
"""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Final

from icss_core.dataset import BACKGROUND_CLASS
from icss_core.errors import DatasetError
from icss_core.labels import BACKGROUND, ClassInfo, LabelSpace, name_key
from services.ingest.mask_file import read_mask
from services.ingest.mask_meaning import MaskMeaning
from services.ingest.writer import DatasetWriter

if TYPE_CHECKING:
    from pathlib import Path

    from icss_core.dataset import Dataset, Split
    from services.ingest.writer import Progress
    from services.storage import Storage

_CLASSES: Final = 150
_PARTS: Final[dict[str, Split]] = {"training": "train", "validation": "val"}


def ingest_ade20k(
    storage: Storage,
    source: Path,
    prefix: str,
    *,
    ignore_other: bool = False,
    on_scene: Progress | None = None,
) -> Dataset:
    """Convert the set to GeoTIFFs under an s3:// prefix.

    Args:
        storage: where it goes.
        source: the folder `ADEChallengeData2016`, or one above it.
        prefix: s3:// prefix of the data set.
        ignore_other: whether the value 0 counts neither for nor against any class in training too, as in the
            challenge; if not, it is background there, as in MiB. In validation it never counts.
        on_scene: called after each image.

    Raises:
        DatasetError: the folder is not the set, or a mask is missing or does not fit.
    """
    root = next((one.parent for one in source.glob("**/objectInfo150.txt")), None)
    if root is None:
        raise DatasetError(f"{source} has no objectInfo150.txt in it or below it")
    meaning = MaskMeaning(classes=read_classes(root / "objectInfo150.txt"))
    writer = DatasetWriter(storage, prefix, name="ade20k", classes=meaning.classes)
    images = [
        (split, image)
        for part, split in _PARTS.items()
        for image in sorted((root / "images" / part).glob("*.jpg"))
    ]
    for number, (split, image) in enumerate(images, start=1):
        path = root / "annotations" / image.parent.name / f"{image.stem}.png"
        if not path.is_file():
            raise DatasetError(f"the set lacks {path}")
        mask = read_mask(path, meaning)
        if ignore_other or split == "val":
            mask = mask.with_ignored(BACKGROUND)
        writer.add_file(image.stem, image, mask, split=split)
        if on_scene is not None:
            on_scene(number, len(images), image.stem)
    other = "ignored" if ignore_other else "background"
    return writer.finish(
        notes=f"ADE20K, Zhou et al., scene parsing challenge 2016. Other things are {other}."
    )


def read_classes(path: Path) -> LabelSpace:
    """The 150 classes of objectInfo150.txt, by the first of each one's names, behind a background.

    Raises:
        DatasetError: the file does not list them in order.
    """
    classes, taken = [BACKGROUND_CLASS], {BACKGROUND_CLASS.name}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        fields = line.split("\t")
        if len(fields) < 2 or fields[0].strip() != str(len(classes)):
            raise DatasetError(f"{path}: line {line!r} is not class {len(classes)} with its name")
        names = [name.strip() for name in fields[-1].split(",")]
        # two classes may share a first name: the next one tells them apart
        name = next((one for one in names if name_key(one) not in taken), f"{names[0]} {len(classes)}")
        taken.add(name_key(name))
        classes.append(ClassInfo(name=name, colour=_colour(len(classes))))
    if len(classes) != _CLASSES + 1:
        raise DatasetError(f"{path} lists {len(classes) - 1} classes, not {_CLASSES}")
    return LabelSpace(classes=tuple(classes))


def _colour(index: int) -> tuple[int, int, int]:
    """Hues a golden angle apart, so that neighbours in the list do not look alike."""
    shade = colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.45 + 0.5 * (index % 3) / 2, 0.6 + 0.35 * (index % 2))
    red, green, blue = (round(255 * channel) for channel in shade)
    return red, green, blue
