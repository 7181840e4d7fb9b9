"""Pascal VOC 2012: natural images with 20 classes of objects, dense, or labelled by points or scribbles.

Read here as everybody has it: `JPEGImages/2007_000032.jpg`, masks of indices with 255 at the borders in
`SegmentationClass/`, lists in `ImageSets/Segmentation/`. Three additions that others published lie beside:

- the augmented masks (Hariharan et al., SBD), one PNG an image in `SegmentationClassAug/`; what of them is
  not in val.txt is the training set that papers call `train_aug`, 10 582 images;
- points (Bearman et al., "What's the Point"): a JSON file of clicks by image, `{"x", "y", "cls", "rank"}`,
  with classes 1 to 20 and never a background;
- scribbles (Lin et al., ScribbleSup): an XML file an image, polylines with the name of their class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image, ImageDraw

from icss_core.errors import DatasetError, InvalidParameterError
from icss_core.labels import IGNORE, ClassInfo, LabelSpace
from icss_core.text_file import read_json, read_text
from services.ingest.mask_file import read_mask
from services.ingest.mask_meaning import MaskMeaning
from services.ingest.writer import DatasetWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from icss_core.dataset import Dataset, Split
    from services.ingest.mask_file import Mask
    from services.ingest.writer import Progress
    from services.storage import Storage

Supervision = Literal["masks", "points", "scribbles"]
"""What the training images are labelled with; validation images always have their dense masks."""

_NAMES: Final = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
_SCRIBBLE_NAMES: Final = {
    "plane": "aeroplane",
    "bike": "bicycle",
    "table": "diningtable",
    "plant": "pottedplant",
    "monitor": "tvmonitor",
}
"""Other names for some classes that files of scribbles have."""
_SCRIBBLE_WIDTH: Final = 3
"""Pixels; the files hold lines without a width."""


def _colour(index: int) -> tuple[int, int, int]:
    """The set's own palette: the bits of an index spread over the high bits of the three channels."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return channels[0], channels[1], channels[2]


VOC_CLASSES: Final = LabelSpace(
    classes=tuple(ClassInfo(name=name, colour=_colour(index)) for index, name in enumerate(_NAMES))
)


def ingest_voc(
    storage: Storage,
    source: Path,
    prefix: str,
    *,
    augmented: bool = True,
    supervision: Supervision = "masks",
    annotations: Path | None = None,
    on_scene: Progress | None = None,
) -> Dataset:
    """Convert the set to GeoTIFFs under an s3:// prefix.

    Args:
        storage: where it goes.
        source: the folder `VOC2012`, or one above it.
        prefix: s3:// prefix of the data set.
        augmented: train on the augmented masks' images too, if `SegmentationClassAug` is there.
        supervision: what the training images are labelled with. Images without any point or scribble are left
            out.
        annotations: file of points, or folder of scribbles.
        on_scene: called after each image.

    Raises:
        InvalidParameterError: points or scribbles without a place to read them from.
        DatasetError: the folder is not the set, a file is missing, or an annotation does not fit its image.
    """
    root = next((one for one in (source, *source.glob("**/VOC2012")) if (one / "JPEGImages").is_dir()), None)
    if root is None:
        raise DatasetError(f"{source} has no folder JPEGImages in it or in a VOC2012 below it")
    more = root / "SegmentationClassAug"
    masks = more if augmented and more.is_dir() else root / "SegmentationClass"
    val = _listed(root, "val")
    train = sorted({path.stem for path in more.glob("*.png")} - set(val)) if masks == more else None
    train = _listed(root, "train") if train is None else train
    weak = _weak_masks(supervision, annotations)
    writer = DatasetWriter(storage, prefix, name="voc", classes=VOC_CLASSES)
    unlabelled, parts = 0, [("train", name) for name in train] + [("val", name) for name in val]
    for number, (part, name) in enumerate(parts, start=1):
        split: Split = "val" if part == "val" else "train"
        mask: Mask | npt.NDArray[np.uint8] | None
        if split == "train" and weak is not None:
            with Image.open(_existing(root / "JPEGImages" / f"{name}.jpg")) as image:
                mask = weak(name, image.height, image.width)
        else:
            folder = masks if split == "train" else root / "SegmentationClass"
            mask = read_mask(_existing(folder / f"{name}.png"), MaskMeaning(classes=VOC_CLASSES))
        if mask is None:
            unlabelled += 1
        else:
            writer.add_file(name, _existing(root / "JPEGImages" / f"{name}.jpg"), mask, split=split)
        if on_scene is not None:
            on_scene(number, len(parts), name)
    notes = f"Pascal VOC 2012, Everingham et al. Training images labelled by {supervision}."
    if unlabelled:
        notes += f" Left out, as nobody annotated them: {unlabelled} images."
    return writer.finish(notes=notes)


def _listed(root: Path, part: str) -> list[str]:
    path = root / "ImageSets" / "Segmentation" / f"{part}.txt"
    return [line.strip() for line in read_text(_existing(path), DatasetError).splitlines() if line.strip()]


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DatasetError(f"the set lacks {path}")
    return path


def _weak_masks(
    supervision: Supervision, annotations: Path | None
) -> Callable[[str, int, int], npt.NDArray[np.uint8] | None] | None:
    """A function from an image's name, height and width to its sparse mask; None for dense ones."""
    if supervision == "masks":
        return None
    if annotations is None:
        raise InvalidParameterError(f"{supervision} are read from --annotations, which is not given")
    if supervision == "scribbles":
        return lambda name, height, width: scribble_mask(annotations / f"{name}.xml", height, width)
    try:
        points = read_json(annotations, DatasetError)
    except OSError as error:
        raise DatasetError(f"{annotations} is no file of points: {error}") from error
    return lambda name, height, width: point_mask(points.get(name, []), height, width)


def point_mask(points: list[dict[str, int]], height: int, width: int) -> npt.NDArray[np.uint8] | None:
    """Clicks of one image as a mask (H, W), 255 where nobody clicked; None without any click.

    Clicks off the image, of which the set has a few, are passed over.

    Raises:
        DatasetError: a click is not one.
    """
    mask = np.full((height, width), IGNORE, np.uint8)
    for point in points:
        try:
            row, col, label = int(point["y"]), int(point["x"]), int(point["cls"])
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{point} is no click with x, y and cls") from error
        if not 0 < label < len(_NAMES):
            raise DatasetError(f"{point}: classes are 1 to {len(_NAMES) - 1}")
        if 0 <= row < height and 0 <= col < width:
            mask[row, col] = label
    return mask if (mask != IGNORE).any() else None


def scribble_mask(path: Path, height: int, width: int) -> npt.NDArray[np.uint8] | None:
    """Scribbles of one image as a mask (H, W), 255 where there is none; None without a file.

    Raises:
        DatasetError: the file is damaged, is of an image of another size, or names an unknown class.
    """
    if not path.is_file():
        return None
    try:
        root = ET.parse(path).getroot()  # noqa: S314 - Python's parser fetches no external entities
        size = root.find("size")
        stated = (int(_text(size, "height")), int(_text(size, "width")))
        lines = [
            (_text(line, "tag"), [(int(_text(one, "X")), int(_text(one, "Y"))) for one in line.iter("point")])
            for line in root.iter("polygon")
        ]
    except (ET.ParseError, ValueError) as error:
        raise DatasetError(f"{path} is no file of scribbles: {error}") from error
    if stated != (height, width):
        raise DatasetError(f"{path} is of {stated[0]} x {stated[1]} pixels, its image of {height} x {width}")
    drawn = Image.new("L", (width, height), IGNORE)
    draw = ImageDraw.Draw(drawn)
    for tag, points in lines:
        name = _SCRIBBLE_NAMES.get(tag, tag)
        if name not in _NAMES:
            raise DatasetError(f"{path}: {tag!r} is no class of the set")
        draw.line(points, fill=_NAMES.index(name), width=_SCRIBBLE_WIDTH, joint="curve")
    return np.asarray(drawn, dtype=np.uint8)


def _text(element: ET.Element | None, tag: str) -> str:
    text = None if element is None else element.findtext(tag)
    if text is None:
        raise ValueError(f"no {tag}")
    return text.strip()
