"""Cityscapes: street scenes of 50 towns with the 19 classes of its benchmark (Cordts et al. 2016).

`leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png` with `gtFine/train/aachen/
aachen_000000_000019_gtFine_labelIds.png`, whose values the table below translates; all others are ignored, as
in the benchmark. The set has no background: index 0 is what a task does not name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from icss_core.dataset import BACKGROUND_CLASS
from icss_core.errors import DatasetError
from icss_core.labels import IGNORE, ClassInfo, LabelSpace
from services.ingest.mask_file import read_mask
from services.ingest.mask_meaning import MaskMeaning
from services.ingest.writer import DatasetWriter

if TYPE_CHECKING:
    from pathlib import Path

    from icss_core.dataset import Dataset, Split
    from services.ingest.writer import Progress
    from services.storage import Storage

_IDS: Final[dict[int, tuple[str, tuple[int, int, int]]]] = {
    7: ("road", (128, 64, 128)),
    8: ("sidewalk", (244, 35, 232)),
    11: ("building", (70, 70, 70)),
    12: ("wall", (102, 102, 156)),
    13: ("fence", (190, 153, 153)),
    17: ("pole", (153, 153, 153)),
    19: ("traffic light", (250, 170, 30)),
    20: ("traffic sign", (220, 220, 0)),
    21: ("vegetation", (107, 142, 35)),
    22: ("terrain", (152, 251, 152)),
    23: ("sky", (70, 130, 180)),
    24: ("person", (220, 20, 60)),
    25: ("rider", (255, 0, 0)),
    26: ("car", (0, 0, 142)),
    27: ("truck", (0, 0, 70)),
    28: ("bus", (0, 60, 100)),
    31: ("train", (0, 80, 100)),
    32: ("motorcycle", (0, 0, 230)),
    33: ("bicycle", (119, 11, 32)),
}
"""Names and colours of the benchmark's classes by the values of the published masks."""

CITYSCAPES_CLASSES: Final = LabelSpace(
    classes=(BACKGROUND_CLASS, *(ClassInfo(name=name, colour=colour) for name, colour in _IDS.values()))
)
_IMAGE, _MASK = "_leftImg8bit.png", "_gtFine_labelIds.png"


def ingest_cityscapes(
    storage: Storage, source: Path, prefix: str, *, on_scene: Progress | None = None
) -> Dataset:
    """Convert the finely labelled part of the set to GeoTIFFs under an s3:// prefix.

    Args:
        storage: where it goes.
        source: the folder with `leftImg8bit` and `gtFine`.
        prefix: s3:// prefix of the data set.
        on_scene: called after each image.

    Raises:
        DatasetError: the folder is not the set, or a mask is missing or does not fit.
    """
    by_id = {value: index for index, value in enumerate(_IDS, start=1)}
    values = dict.fromkeys(range(256), IGNORE) | by_id
    meaning = MaskMeaning(classes=CITYSCAPES_CLASSES, values=values)
    parts: tuple[Split, ...] = ("train", "val")
    images = [
        (part, image)
        for part in parts
        for image in sorted((source / "leftImg8bit" / part).glob(f"*/*{_IMAGE}"))
    ]
    if not images:
        raise DatasetError(f"{source} has no image like leftImg8bit/train/aachen/...{_IMAGE}")
    writer = DatasetWriter(storage, prefix, name="cityscapes", classes=CITYSCAPES_CLASSES)
    for number, (split, image) in enumerate(images, start=1):
        name = image.name.removesuffix(_IMAGE)
        path = source / "gtFine" / split / image.parent.name / f"{name}{_MASK}"
        if not path.is_file():
            raise DatasetError(f"the set lacks {path}")
        writer.add_file(name, image, read_mask(path, meaning), split=split)
        if on_scene is not None:
            on_scene(number, len(images), name)
    return writer.finish(notes="Cityscapes, Cordts et al. 2016, fine annotations.")
