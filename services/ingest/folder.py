"""A user's own folder: images, with masks or without.

Layout: `images/NAME.EXT` (or the images in the folder itself), `masks/NAME.EXT` of the same stem, optionally
`classes.yaml` (or .json): a list of `{name, colour}`, or of names, by index from 0, the background first; or
a mapping from mask values to those, where no value need be background and `ignore` counts for nothing. Masks
hold class indices, those values, or the colours of classes.yaml. Optionally `split.csv` with columns name and
split.

Beside images/, `objectness/NAME.EXT` may say how likely each pixel belongs to an object of any class, in one
band of uint8, 0 never and 255 surely, for methods that learn from it. `maps/KIND/NAME.EXT` may hold other
maps of the same form under any name (saliency, elevation).

Instead of a mask a scene to train on may have scribbles, `masks/NAME.geojson`: LineStrings, MultiLineStrings
and Points with the name of their class in a property `class` and, for lines, perhaps a `width` in pixels (3
without). Coordinates are longitude and latitude unless the collection has a member `crs`,
`{"type": "name", "properties": {"name": "EPSG:32631"}}`; the name "pixel" stands for (column, row). What
nobody drew on is not labelled, and a scene's image-level labels are the classes that were drawn.
"""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING, Final

import numpy as np
import yaml
from pydantic import TypeAdapter, ValidationError

from icss_core.clicks import scribbles_from_geojson
from icss_core.dataset import BACKGROUND_CLASS
from icss_core.errors import ClickError, DatasetError, InvalidParameterError, UnknownClassError
from icss_core.labels import IGNORE, ClassInfo, LabelSpace, name_key
from icss_core.raster.formats import IMAGE_EXTENSIONS, MASK_EXTENSIONS
from icss_core.raster.reader import open_raster
from services.ingest.mask_file import read_mask
from services.ingest.writer import DatasetWriter

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import numpy.typing as npt

    from icss_core.dataset import Dataset, Split
    from services.ingest.writer import Progress
    from services.storage import Storage

_SCRIBBLES: Final = frozenset({".geojson"})
_COLOURS: Final = (
    (52, 90, 200),
    (226, 72, 52),
    (56, 158, 84),
    (64, 190, 220),
    (247, 201, 72),
    (148, 82, 190),
)
_VALIDATION_EVERY: Final = 5
"""Without split.csv every fifth scene is for validation."""


def ingest_folder(
    storage: Storage, source: Path, prefix: str, *, name: str | None = None, on_scene: Progress | None = None
) -> Dataset:
    """Convert a user's images, and masks if there are any, to GeoTIFFs under an s3:// prefix.

    Georeference, bands, data type, nodata and masks of the images are kept.

    Raises:
        DatasetError: no image, two images of one name, a mask or map without image or that does not
            fit it, or scribbles that do not, lie beside a mask, or are of a scene that is not to train on.
    """
    images = _by_name(source / "images" if (source / "images").is_dir() else source)
    masks = _masks(source / "masks")
    scribbles = _by_name(source / "masks", _SCRIBBLES)
    both = sorted(set(masks) & set(scribbles))
    if both:
        raise DatasetError(f"{source / 'masks'}: {both} have a mask and scribbles; only one of them counts")
    orphans = sorted({*masks, *scribbles} - set(images))
    if orphans:
        raise DatasetError(f"{source / 'masks'}: no image for the masks {orphans}")
    maps = _maps(source, set(images))
    if not images:
        raise DatasetError(f"no image in {source}; known endings: {', '.join(sorted(IMAGE_EXTENSIONS))}")
    classes, lookup = _classes(source)
    if (masks or scribbles) and classes is None:
        raise DatasetError(f"{source} has masks but no classes.yaml that says what their values mean")
    classes = classes or LabelSpace(classes=(BACKGROUND_CLASS,))
    splits = _splits(source, sorted(images), masked=set(masks), scribbled=set(scribbles))
    palette = {info.colour: index for index, info in enumerate(classes.classes)}
    writer = DatasetWriter(storage, prefix, name=name or source.resolve().name, classes=classes)
    for number, scene in enumerate(sorted(images), start=1):
        mask: npt.NDArray[np.uint8] | None = None
        if scene in masks:
            mask = _translated(read_mask(masks[scene], palette), lookup, masks[scene])
        elif scene in scribbles:
            mask = _scribbled(scribbles[scene], images[scene], classes)
        writer.add_file(scene, images[scene], mask, split=splits[scene], maps=maps.get(scene, {}))
        if on_scene is not None:
            on_scene(number, len(images), scene)
    return writer.finish()


def _by_name(folder: Path, endings: Collection[str] = IMAGE_EXTENSIONS) -> dict[str, Path]:
    """Files of a folder with these endings by stem, made safe for an address; none without the folder."""
    by_name: dict[str, Path] = {}
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        if path.suffix.lower() not in endings:
            continue
        name = re.sub(r"[^\w.-]", "_", path.stem)
        if name in by_name:
            raise DatasetError(f"{by_name[name]} and {path} would both be scene {name!r}")
        by_name[name] = path
    return by_name


def _maps(source: Path, images: set[str]) -> dict[str, dict[str, Path]]:
    """Maps by scene and then by their name: those of `objectness/` and of each folder in `maps/`."""
    by_scene: dict[str, dict[str, Path]] = {}
    parents = sorted(path for path in (source / "maps").glob("*") if path.is_dir())
    for folder in [source / "objectness", *parents]:
        files = _by_name(folder)
        orphans = sorted(set(files) - images)
        if orphans:
            raise DatasetError(f"{folder}: no image for {orphans}")
        for scene, path in files.items():
            by_scene.setdefault(scene, {})[folder.name] = path
    return by_scene


def _masks(folder: Path) -> dict[str, Path]:
    """Mask files of a folder by stem."""
    masks = _by_name(folder)
    lossy = sorted(path.name for path in masks.values() if path.suffix.lower() not in MASK_EXTENSIONS)
    if lossy:
        raise DatasetError(f"{folder}: {lossy} may have changed values; save masks as PNG or GeoTIFF")
    return masks


def _classes(source: Path) -> tuple[LabelSpace | None, dict[int, int]]:
    """Label space of classes.yaml or classes.json, None without either, and indices by mask value.

    Names alone get colours. Without a mapping, values are indices and the lookup is empty.
    """
    path = next(
        (source / file for file in ("classes.yaml", "classes.json") if (source / file).is_file()), None
    )
    if path is None:
        return None, {}
    try:
        entries, lookup = _entries(yaml.safe_load(path.read_text(encoding="utf-8")))
        infos = [
            ClassInfo(name=entry, colour=_COLOURS[(index - 1) % len(_COLOURS)] if index else (160, 160, 160))
            if isinstance(entry, str)
            else entry
            for index, entry in enumerate(entries)
        ]
        return LabelSpace(classes=tuple(infos)), lookup
    except (yaml.YAMLError, ValidationError) as error:
        raise DatasetError(
            f"{path} must be a list of class names, or of {{name, colour: [red, green, blue]}}, or a mapping "
            f"from mask values to those: {error}"
        ) from error


def _entries(content: object) -> tuple[list[str | ClassInfo], dict[int, int]]:
    """Classes by index, and the index of each mask value."""
    if not isinstance(content, dict):
        return TypeAdapter(list[str | ClassInfo]).validate_python(content), {}
    by_value = TypeAdapter(dict[int, str | ClassInfo]).validate_python(content)
    entries: list[str | ClassInfo] = [BACKGROUND_CLASS]
    lookup: dict[int, int] = {}
    for value, entry in sorted(by_value.items()):
        key = name_key(entry if isinstance(entry, str) else entry.name)
        if key.split()[:1] == ["ignore"]:
            lookup[value] = IGNORE
        elif key == BACKGROUND_CLASS.name:
            lookup[value] = 0
        else:
            lookup[value] = len(entries)
            entries.append(entry)
    return entries, lookup


def _translated(mask: npt.NDArray[np.uint8], lookup: dict[int, int], path: Path) -> npt.NDArray[np.uint8]:
    """A mask of values as one of indices."""
    if not lookup:
        return mask
    indices = {IGNORE: IGNORE, **lookup}
    values = np.unique(mask).tolist()
    unknown = [value for value in values if value not in indices]
    if unknown:
        raise DatasetError(f"{path}: values {unknown} are no class; known are {sorted(indices)}")
    table = np.full(256, IGNORE, np.uint8)
    table[list(indices)] = list(indices.values())
    return table[mask]


def _scribbled(path: Path, image: Path, classes: LabelSpace) -> npt.NDArray[np.uint8]:
    """A file of scribbles as a mask (H, W) of indices, 255 where nobody drew."""
    try:
        collection = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is no GeoJSON: {error}") from error
    with open_raster(image) as raster:
        try:
            return scribbles_from_geojson(collection, raster, classes)
        except (ClickError, InvalidParameterError, UnknownClassError) as error:
            raise DatasetError(f"{path}: {error}") from error


def _splits(source: Path, names: list[str], *, masked: set[str], scribbled: set[str]) -> dict[str, Split]:
    """Split of each scene by split.csv.

    Without it every fifth scene that has a mask is for validation and the others are to train on; of two to
    four scenes the last one is for validation, and so is a single one beside scribbles. A scene with
    scribbles is to train on, one with neither for test.

    Raises:
        DatasetError: split.csv is wrong, or has scribbles for validation or test, where few labels would pass
            for all there are.
    """
    path = source / "split.csv"
    if not path.is_file():
        labelled = [name for name in names if name in masked]
        step = min(_VALIDATION_EVERY, max(len(labelled), 1 if scribbled else 2))
        chosen = set(labelled[step - 1 :: step])
        return {
            name: "val" if name in chosen else "train" if name in masked | scribbled else "test"
            for name in names
        }
    splits: dict[str, Split] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            match row.get("split"):
                case "train" | "val" | "test" as split:
                    # with an ending or without
                    name = re.sub(r"[^\w.-]", "_", row.get("name") or "")
                    stem, dot, ending = name.rpartition(".")
                    splits[stem if dot + ending.lower() in IMAGE_EXTENSIONS else name] = split
                case other:
                    raise DatasetError(
                        f"{path}, line {line}: split must be train, val or test, not {other!r}"
                    )
    missing = sorted(set(names) - set(splits))
    if missing:
        raise DatasetError(f"{path} does not name the scenes {missing}")
    scored = sorted(name for name in scribbled if splits[name] != "train")
    if scored:
        raise DatasetError(f"{path}: scenes with scribbles are to train on; {scored} are for val or test")
    return splits
