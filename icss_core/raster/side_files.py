"""Files beside a raster that GDAL and GIS take for parts of it: georeference, masks, overviews, names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from icss_core.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DESCRIPTION: Final = ".aux.xml"
"""What the name of GDAL's description of a raster ends with, after the whole name of the raster."""

_AFTER_THE_NAME: Final = frozenset(
    (DESCRIPTION, ".aux", ".ovr", ".ovr.aux.xml", ".msk", ".msk.ovr", ".msk.aux.xml", ".vat.dbf", ".vat.cpg")
)
"""They belong to the raster with the name before, and to no other file."""
_AFTER_THE_STEM: Final = frozenset((".wld", ".tab", ".aux", ".rrd", ".imd", ".rpb", "_rpc.txt"))
"""They place any raster of this name, whatever its extension, as a world file does."""
_STYLES: Final = frozenset((".prj", ".qpj", ".qml"))
"""They belong to a raster, or to a vector layer, of this name; none changes where a GeoTIFF lies."""
_NO_RASTERS: Final = frozenset((".json", ".geojson", ".txt", ".csv", ".md", ".xml", ".yaml", ".yml", ".log"))
"""Files of this name with such an extension have no use for a world file."""


def description_of(path: Path) -> Path:
    """Where GDAL looks for what a raster file cannot hold, such as the names of classes."""
    return path.with_name(path.name + DESCRIPTION)


def side_files(path: Path) -> list[Path]:
    """Files beside a raster, which need not exist, that may be taken for parts of it; in any case."""
    return [*_own(path), *_shared(path), *_with_endings(path, _STYLES)]


def check_output(path: Path, inputs: Iterable[Path]) -> None:
    """Make sure that a new raster can take a path without harm to anything but an old raster there.

    Args:
        path: of the new raster.
        inputs: files that it is made from; those that do not exist on this machine are passed over.

    Raises:
        InvalidParameterError: the path, or a file beside it that would be replaced or removed, is one of
            the inputs, by whatever name; or it is a folder; or a world file or the like beside it may belong
            to another file of that name, so that it can neither be removed nor left to displace the raster.
    """
    if path.is_dir():
        raise InvalidParameterError(f"{path} is a folder, not a file to write")
    sources = [one for one in inputs if one.exists()]
    for written in (path, description_of(path), *side_files(path)):
        for source in sources:
            if written.exists() and written.samefile(source):
                raise InvalidParameterError(
                    f"{written} is what the result is made from ({source}); write it under another name"
                )
    if doubtful := _doubtful(path):
        file, namesake = next(iter(doubtful.items()))
        raise InvalidParameterError(
            f"{file} lies beside the new {path.name} and would be taken for a part of it, but may belong to "
            f"{namesake.name}; write the result under another name, or into another folder"
        )


def remove_side_files(path: Path) -> None:
    """Remove what an old raster has left beside its path, just before a new one takes its place.

    What software has made of the old raster goes with it: descriptions, overviews, masks, and where no other
    file has this name, world files, styles and the like. See `check_output`, which is to be called before.
    """
    styles = [] if _namesakes(path) else _with_endings(path, _STYLES)
    for file in [*_own(path), *_shared(path), *styles]:
        file.unlink(missing_ok=True)


def _own(path: Path) -> list[Path]:
    """Those whose names say that they belong to this file."""
    return [file for file in _neighbours(path) if _rest(file, path.name) in _AFTER_THE_NAME]


def _shared(path: Path) -> list[Path]:
    """Those that place every raster with this stem."""
    return _with_endings(path, _AFTER_THE_STEM | _world_files(path))


def _world_files(path: Path) -> frozenset[str]:
    """Endings of world files of this kind of raster: `.tfw` and `.tifw` of `.tif`."""
    extension = path.suffix.lower()
    if len(extension) < 3:
        return frozenset()
    return frozenset((f"{extension}w", f".{extension[1]}{extension[-1]}w"))


def _with_endings(path: Path, endings: frozenset[str]) -> list[Path]:
    return [file for file in _neighbours(path) if file != path and _rest(file, path.stem) in endings]


def _doubtful(path: Path) -> dict[Path, Path]:
    """Of `_shared`, those that may belong to another file, with that file; a `.tfw` only to another TIFF."""
    namesakes = [file for file in _namesakes(path) if file.suffix.lower() not in _NO_RASTERS]
    same_kind = [file for file in namesakes if _world_files(file) & _world_files(path)]
    doubtful = {}
    for file in _shared(path):
        owners = same_kind if _rest(file, path.stem) in _world_files(path) else namesakes
        if owners:
            doubtful[file] = owners[0]
    return doubtful


def _namesakes(path: Path) -> list[Path]:
    """Other files with this stem and any extension, but for side files."""
    endings = _AFTER_THE_STEM | _STYLES | _world_files(path)
    return [
        file
        for file in _neighbours(path)
        if file.stem.lower() == path.stem.lower()
        and file.name.lower() != path.name.lower()
        and file.suffix.lower() not in endings
    ]


def _neighbours(path: Path) -> list[Path]:
    """Files in the same folder whose names begin as the stem does."""
    if not path.parent.is_dir():
        return []
    stem = path.stem.lower()
    return sorted(file for file in path.parent.iterdir() if file.name.lower().startswith(stem))


def _rest(file: Path, start: str) -> str:
    """What a file's name has after its start, in lower case; nothing where it starts otherwise."""
    name = file.name.lower()
    return name[len(start) :] if name.startswith(start.lower()) else ""
