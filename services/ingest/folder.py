"""A user's own folder: images, with masks or without.

Layout: `images/NAME.EXT` (or the images in the folder itself), `masks/NAME.EXT` of the same stem, optionally
`classes.yaml` (or .json): a list of `{name, colour}`, or of names, by index from 0, the background first; or
a mapping from mask values to those, where no value need be background and `ignore` counts for nothing. Masks
hold class indices, those values, or the colours of classes.yaml; see `MaskMeaning`. Optionally `split.csv`
with columns name and split. Hidden files, such as the `._NAME` of a folder from a Mac, are passed over.

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

import re
import unicodedata
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from icss_core.clicks import scribbles_from_geojson
from icss_core.dataset import BACKGROUND_CLASS
from icss_core.errors import ClickError, DatasetError, InvalidParameterError, UnknownClassError, faults_of
from icss_core.labels import BACKGROUND, IGNORE, ClassInfo, LabelSpace, name_key
from icss_core.raster.formats import IMAGE_EXTENSIONS, MASK_EXTENSIONS
from icss_core.raster.reader import open_raster
from icss_core.text_file import read_json, read_plain_yaml, read_table
from services.ingest.mask_file import read_mask
from services.ingest.mask_meaning import MaskMeaning
from services.ingest.writer import DatasetWriter

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from icss_core.dataset import Dataset, Split
    from services.ingest.mask_file import Mask
    from services.ingest.mask_meaning import Colour
    from services.ingest.writer import Progress, Target

_SCRIBBLES: Final = frozenset({".geojson"})
_COLOURS: Final = (
    (52, 90, 200),
    (226, 72, 52),
    (56, 158, 84),
    (64, 190, 220),
    (247, 201, 72),
    (148, 82, 190),
)
MaskValue = Annotated[int, Field(ge=0, le=255)]
_VALIDATION_EVERY: Final = 5
"""Without split.csv every fifth scene is for validation."""


def ingest_folder(
    storage: Target,
    source: Path,
    prefix: str,
    *,
    name: str | None = None,
    alpha_is_data: bool = False,
    on_scene: Progress | None = None,
) -> Dataset:
    """Convert a user's images, and masks if there are any, to GeoTIFFs under an s3:// prefix.

    Georeference, bands, data type, nodata and masks of the images are kept.

    Args:
        storage: where the data set goes.
        source: the folder.
        prefix: s3:// prefix of the data set.
        name: of the data set; the folder's own by default.
        alpha_is_data: see `DatasetWriter.add_file`.
        on_scene: called after each scene.

    Raises:
        DatasetError: no image, two images of one name, a mask or map without image or that does not
            fit it, or scribbles that do not, lie beside a mask, or are of a scene that is not to train on;
            or a file of text, or a value of a mask, that means nothing, or not one thing.
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
    meaning = read_classes(source)
    if (masks or scribbles) and meaning is None:
        raise DatasetError(f"{source} has masks but no classes.yaml that says what their values mean")
    meaning = meaning or MaskMeaning(classes=LabelSpace(classes=(BACKGROUND_CLASS,)))
    splits = _splits(source, sorted(images), masked=set(masks), scribbled=set(scribbles))
    writer = DatasetWriter(storage, prefix, name=name or source.resolve().name, classes=meaning.classes)
    for number, scene in enumerate(sorted(images), start=1):
        mask: Mask | npt.NDArray[np.uint8] | None = None
        if scene in masks:
            mask = read_mask(masks[scene], meaning)
        elif scene in scribbles:
            mask = _scribbled(scribbles[scene], images[scene], meaning.classes)
        more = maps.get(scene, {})
        writer.add_file(
            scene, images[scene], mask, split=splits[scene], alpha_is_data=alpha_is_data, maps=more
        )
        if on_scene is not None:
            on_scene(number, len(images), scene)
    if masks and not scribbles:
        _refuse_all_ignored(source, writer.check.pixels, meaning)
    return writer.finish()


def _refuse_all_ignored(source: Path, pixels: npt.NDArray[np.int64], meaning: MaskMeaning) -> None:
    """Raises where masks hold background and 255 alone, and nobody said that 255 is to be ignored.

    That is how much software writes a mask of one class, and read as usual it would have no label at all.
    """
    says_nothing = len(meaning.classes) > 1 and IGNORE not in meaning.values
    if says_nothing and pixels[IGNORE] and not pixels[BACKGROUND + 1 : IGNORE].any():
        name = meaning.classes.names[1]
        raise DatasetError(
            f"{source / 'masks'}: no pixel is of a class, but {pixels[IGNORE]} are 255, which counts as "
            f"ignored; if 255 is {name!r}, write a mapping in classes.yaml: '0: background' and "
            f"'255: {name}', or else '255: ignore'"
        )


def scene_name(stem: str) -> str:
    """Name of the scene of a file: made safe for an address, and the same however its accents are encoded."""
    return re.sub(r"[^\w.-]", "_", unicodedata.normalize("NFC", stem))


def _by_name(folder: Path, endings: Collection[str] = IMAGE_EXTENSIONS) -> dict[str, Path]:
    """Files of a folder with these endings by stem, made safe for an address; none without the folder."""
    by_name: dict[str, Path] = {}
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        if path.suffix.lower() not in endings or path.name.startswith("."):
            continue
        name = scene_name(path.stem)
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


def read_classes(source: Path) -> MaskMeaning | None:
    """Classes of classes.yaml or classes.json, and what stands for them in masks; None without either.

    Names alone get colours, which masks are not looked up by.

    Raises:
        DatasetError: the file is neither a list nor a mapping of classes.
    """
    path = next(
        (source / file for file in ("classes.yaml", "classes.json") if (source / file).is_file()), None
    )
    if path is None:
        return None
    content = (read_json if path.suffix == ".json" else read_plain_yaml)(path, DatasetError)
    try:
        return _meaning(content)
    except ValidationError as error:
        raise DatasetError(
            f"{path} must be a list of class names, or of {{name, colour: [red, green, blue]}}, or a mapping "
            f"from mask values to those: {faults_of(error)}"
        ) from error


def _meaning(content: object) -> MaskMeaning:
    if not isinstance(content, dict):
        listed = TypeAdapter(list[str | ClassInfo]).validate_python(content)
        return MaskMeaning(classes=_coloured(listed), colours=_colours(dict(enumerate(listed))))
    by_value = TypeAdapter(dict[MaskValue, str | ClassInfo]).validate_python(content)
    entries: list[str | ClassInfo] = [BACKGROUND_CLASS]
    values: dict[int, int] = {}
    named: dict[str, int] = {}  # several values may be one class
    for value, entry in sorted(by_value.items()):
        key = name_key(_name(entry))
        if key.split()[:1] == ["ignore"]:
            values[value] = IGNORE
        elif key == BACKGROUND_CLASS.name:
            values[value] = BACKGROUND
            entries[BACKGROUND] = entry
        elif key in named:
            values[value] = named[key]
        else:
            values[value] = named[key] = len(entries)
            entries.append(entry)
    colours = _colours({values[value]: entry for value, entry in by_value.items()})
    return MaskMeaning(classes=_coloured(entries), values=values, colours=colours)


def _coloured(entries: list[str | ClassInfo]) -> LabelSpace:
    """Label space of the entries; names alone get a colour of ours."""
    infos = [
        ClassInfo(name=entry, colour=_colour(index)) if isinstance(entry, str) else entry
        for index, entry in enumerate(entries)
    ]
    return LabelSpace(classes=tuple(infos))


def _colour(index: int) -> Colour:
    return _COLOURS[(index - 1) % len(_COLOURS)] if index else BACKGROUND_CLASS.colour


def _colours(entries: Mapping[int, str | ClassInfo]) -> dict[Colour, int]:
    """Indices by the colours that the file names."""
    return {entry.colour: index for index, entry in entries.items() if isinstance(entry, ClassInfo)}


def _name(entry: str | ClassInfo) -> str:
    return entry if isinstance(entry, str) else entry.name


def _scribbled(path: Path, image: Path, classes: LabelSpace) -> npt.NDArray[np.uint8]:
    """A file of scribbles as a mask (H, W) of indices, 255 where nobody drew."""
    collection = read_json(path, DatasetError)
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
    for row in read_table(path, ("name", "split"), DatasetError):
        match row.values["split"]:
            case "train" | "val" | "test" as split:
                # with an ending or without
                name = scene_name(row.values["name"])
                stem, dot, ending = name.rpartition(".")
                splits[stem if dot + ending.lower() in IMAGE_EXTENSIONS else name] = split
            case other:
                raise DatasetError(
                    f"{path}, line {row.line}: split must be train, val or test, not {other!r}"
                )
    missing = sorted(set(names) - set(splits))
    if missing:
        raise DatasetError(f"{path} does not name the scenes {missing}")
    scored = sorted(name for name in scribbled if splits[name] != "train")
    if scored:
        raise DatasetError(f"{path}: scenes with scribbles are to train on; {scored} are for val or test")
    return splits
