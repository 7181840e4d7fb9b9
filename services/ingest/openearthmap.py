"""OpenEarthMap few-shot: 408 images from above, 7 base classes and, in each of two phases, 4 novel ones.

The set of the OpenEarthMap Land Cover Mapping Few-Shot Challenge (L3D-IVU at CVPR 2024, its last release at
https://zenodo.org/records/11396874), read as the organisers' repository cliffbb/OEM-Fewshot-Challenge does:

- `trainset/`, `valset/` and `testset/`, each with `images/` and `labels/` of equal names, as `aachen_17.tif`
  (`config/oem.yaml`, `src/dataset/data.py`; side by side in the README of earth-insights/ClassTrans);
- `val.json` and `test.json`, each with `support_set`, names by class id, and `query_set`, a list of names;
  `train.txt`, a name a line (all in the repository's folder `data/`);
- ids in labels: 1 to 7 the base classes, 8 to 11 the novel ones of the phase, 0 everything else
  (`src/dataset/classes.py`, `config/oem.yaml`).

Labels of training images show base classes alone; those of a support image its novel class alone, so that 0
may well be a tree there; those of query images all 11 (the challenge's page, `docs/index.html`). So 0 is
background here, and what learns from support images must know that it may be any old class: `mib-paper/mib`
does, and so does `plop-paper/plop`, while fine-tuning learns that trees are background. SegLand
(LiZhuoHong/SegLand, `dataset/oem_ft.py`) ignores 0 in support images instead, and can, as it goes on training
on images of the base classes, which a continual learner has no longer.

The challenge pools the query images (`src/test.py`, `fast_intersection_and_union` in `src/utils.py`):
intersections and unions are summed over all of them before dividing; pixels of 0 count as false positives of
what is predicted there, 255 alone is left out; the IoU of 0 itself is in no mean. That is how
`icss_core.metrics` pools. Deviation: there images are resized to 1024 pixels first, so that one of another
size weighs less or more than here.
"""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from icss_core.dataset import BACKGROUND_CLASS
from icss_core.errors import DatasetError, faults_of
from icss_core.labels import BACKGROUND, IGNORE, ClassInfo, LabelSpace
from icss_core.text_file import read_json, read_text
from services.ingest.label_counts import label_counts
from services.ingest.mask_file import read_mask
from services.ingest.mask_meaning import MaskMeaning
from services.ingest.writer import DatasetWriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from icss_core.dataset import Dataset, Split
    from services.ingest.mask_file import Mask
    from services.ingest.writer import Progress, Target

Phase = Literal["val", "test"]
"""Of the challenge: development, whose query labels are public, and evaluation, where they are withheld."""

_BASE: Final = (
    ClassInfo(name="tree", colour=(34, 97, 38)),
    ClassInfo(name="rangeland", colour=(0, 255, 36)),
    ClassInfo(name="bareland", colour=(128, 0, 0)),
    ClassInfo(name="agric land type 1", colour=(75, 181, 73)),
    ClassInfo(name="road type 1", colour=(255, 255, 255)),
    ClassInfo(name="sea, lake, & pond", colour=(0, 69, 255)),
    ClassInfo(name="building type 1", colour=(222, 31, 7)),
)
_NOVEL: Final[Mapping[Phase, tuple[ClassInfo, ...]]] = MappingProxyType(
    {
        "val": (
            ClassInfo(name="road type 2", colour=(160, 160, 220)),
            ClassInfo(name="river", colour=(0, 200, 255)),
            ClassInfo(name="boat & ship", colour=(255, 240, 0)),
            ClassInfo(name="agric land type 2", colour=(190, 240, 90)),
        ),
        "test": (
            ClassInfo(name="vehicle & cargo-trailer", colour=(255, 0, 0)),
            ClassInfo(name="parking space", colour=(255, 0, 255)),
            ClassInfo(name="sports field", colour=(0, 255, 255)),
            ClassInfo(name="building type 2", colour=(255, 160, 0)),
        ),
    }
)
"""Behind the base classes, from id 8."""
_BASE_IDS: Final = frozenset(range(1, 8))
_NOVEL_IDS: Final = frozenset(range(8, 12))


class _Lists(BaseModel):
    """What `val.json` or `test.json` says."""

    support_set: dict[int, list[str]] = Field(min_length=1)
    query_set: list[str] = Field(min_length=1)


class _Image(NamedTuple):
    name: str
    split: Split
    folder: Path
    """With `images/` and `labels/`."""
    shown: frozenset[int]
    """Ids that its labels show, by the rules of the challenge."""
    kind: Literal["base", "support", "query"]


def openearthmap_classes(phase: Phase) -> LabelSpace:
    """Background, base classes and the phase's novel classes, at their ids."""
    return LabelSpace(classes=(BACKGROUND_CLASS, *_BASE, *_NOVEL[phase]))


def ingest_openearthmap(
    storage: Target, source: Path, prefix: str, *, phase: Phase = "val", on_scene: Progress | None = None
) -> Dataset:
    """Convert a phase to GeoTIFFs under an s3:// prefix; the protocol `openearthmap-fewshot` runs on it.

    Training and support images become the split `train`. Query images become `val`, or, where labels are
    withheld, `test` without masks. Classes that the challenge does not label in an image of that kind are
    read as background, with a warning: else the image would slip into a task that it is not for.

    Args:
        storage: where it goes.
        source: the folder with `trainset`, `valset` or `testset`, and the phase's list; each may lie deeper.
            With `train.txt` beside that list, the images it names are trained on, else all of `trainset`.
        prefix: s3:// prefix of the data set.
        phase: which novel classes.
        on_scene: called after each image.

    Raises:
        DatasetError: a folder, list, image or label is missing, a list names another class or an image twice,
            or a label has an unknown id or does not fit its image.
    """
    classes = openearthmap_classes(phase)
    images = _images(source, phase)
    writer = DatasetWriter(storage, prefix, name=f"openearthmap-{phase}", classes=classes)
    for number, image in enumerate(images, start=1):
        path = image.folder / "labels" / f"{image.name}.tif"
        mask, split = None, image.split
        if path.is_file():
            mask = _restricted(read_mask(path, MaskMeaning(classes=classes)), image, writer, classes)
        elif split == "val" and phase == "test":
            split = "test"
        else:
            raise DatasetError(f"the set lacks {path}")
        raster = _existing(image.folder / "images" / f"{image.name}.tif")
        writer.add_file(image.name, raster, mask, split=split)
        if on_scene is not None:
            on_scene(number, len(images), image.name)
    counts = Counter[str](image.kind for image in images)
    published = {"base": 258, "support": 20, "query": 30 if phase == "val" else 80}
    listed = ", ".join(f"{kind} {counts[kind]} of {number}" for kind, number in published.items())
    return writer.finish(notes=f"OpenEarthMap few-shot challenge, phase {phase}. Images: {listed}.")


def _images(source: Path, phase: Phase) -> list[_Image]:
    path = _list_of(source, phase)
    lists = _read_lists(path)
    support: dict[str, frozenset[int]] = {}
    for label, names in lists.support_set.items():
        for name in map(_stem, names):
            support[name] = support.get(name, frozenset()) | {label}
    training, novel = _folder(source, "trainset"), _folder(source, f"{phase}set")
    listed = path.with_name("train.txt")
    if listed.is_file():
        train = [_stem(line.strip()) for line in read_text(listed, DatasetError).splitlines() if line.strip()]
    else:
        train = sorted(image.stem for image in (training / "images").glob("*.tif"))
    images = [
        *(_Image(name, "train", training, _BASE_IDS, "base") for name in train),
        *(_Image(name, "train", novel, shown, "support") for name, shown in support.items()),
        *(_Image(_stem(name), "val", novel, _BASE_IDS | _NOVEL_IDS, "query") for name in lists.query_set),
    ]
    twice = sorted(name for name, times in Counter(image.name for image in images).items() if times > 1)
    if twice:
        raise DatasetError(f"{path}: named twice, or for training, support and query at once: {twice}")
    return images


def _read_lists(path: Path) -> _Lists:
    try:
        lists = _Lists.model_validate(read_json(path, DatasetError))
    except ValidationError as error:
        raise DatasetError(f"{path} is no list of support and query images: {faults_of(error)}") from error
    if set(lists.support_set) != _NOVEL_IDS:
        raise DatasetError(
            f"{path}: support_set has the class ids {sorted(lists.support_set)}; novel classes are 8 to 11"
        )
    return lists


def _restricted(mask: Mask, image: _Image, writer: DatasetWriter, classes: LabelSpace) -> Mask:
    """The mask with no class but those that the challenge labels in such an image."""
    present = set(np.flatnonzero(label_counts(mask.labels)).tolist()) - {BACKGROUND, IGNORE}
    lacking, more = sorted(image.shown - present), sorted(present - image.shown)
    where = f"{image.kind} image {image.name!r}"
    if image.kind == "support" and lacking:
        writer.check.warn(f"{where} is listed for {_names(classes, lacking)} and shows none of it")
    if not more:
        return mask
    writer.check.warn(
        f"{where} shows {_names(classes, more)}, which its label should not; read as background"
    )
    return mask.with_changed(dict.fromkeys(more, BACKGROUND))


def _names(classes: LabelSpace, indices: Sequence[int]) -> str:
    return " and ".join(repr(classes.names[index]) for index in indices)


def _folder(source: Path, name: str) -> Path:
    """A part of the set, which archives may unpack into a folder of its own name."""
    candidates: Sequence[Path] = (source / name, *sorted(source.glob(f"**/{name}")))
    found = next((one for one in candidates if (one / "images").is_dir()), None)
    if found is None:
        raise DatasetError(f"{source} has no folder {name} with images and labels in it or below it")
    return found


def _list_of(source: Path, phase: Phase) -> Path:
    name = f"{phase}.json"
    path = next((one for one in (source / name, *sorted(source.glob(f"**/{name}"))) if one.is_file()), None)
    if path is None:
        raise DatasetError(
            f"{source} has no {name} in it or below it, which says what is support and what is query; the "
            "organisers' repository cliffbb/OEM-Fewshot-Challenge has it in data/"
        )
    return path


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DatasetError(f"the set lacks {path}")
    return path


def _stem(name: str) -> str:
    return name.removesuffix(".tif")
