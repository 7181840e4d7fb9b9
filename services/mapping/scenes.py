"""Which images a mapping job takes, and what their maps are called."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from icss_core.errors import InvalidParameterError
from icss_core.raster.formats import IMAGE_EXTENSIONS
from icss_core.text_file import decoded
from services.data.dataset import read_dataset
from services.s3_address import S3Address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.mapping.request import MapRequest
    from services.storage import Storage

_DATASET: Final = (".yaml", ".yml")
_LIST: Final = ".txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapScene:
    """An image to be mapped."""

    name: str
    """Path of its map under the job's prefix, without extension."""
    address: str
    etag: str | None = None
    """Entity tag of the object, where it was listed; None: not asked for yet."""


def find_scenes(request: MapRequest, storage: Storage) -> list[MapScene]:
    """The images of a request, each once, in the order of the request.

    Maps are called as the images: by their path within their prefix, by the scene's name in a data set, and
    else by their path within the folder that all single images have in common. Where two would have the same
    name, as `a.tif` and `a.jpg` in one folder, the extension stays part of it.

    Raises:
        InvalidParameterError: there is no image, or two would have the same map.
        StorageError: a prefix cannot be listed, or a list not be read.
        DatasetError: a dataset.yaml is not one.
    """
    out = S3Address.parse(storage.check_allowed(request.out))
    found: dict[str, MapScene] = {}
    single: list[str] = []
    for source in request.images:
        suffix = PurePosixPath(source).suffix.lower()
        if suffix in _DATASET:
            scenes = _of_dataset(source, storage)
        elif suffix == _LIST:
            single += _listed(source, storage)
            continue
        elif suffix in IMAGE_EXTENSIONS and not source.endswith("/"):
            single.append(source)
            continue
        else:
            scenes = _under_prefix(source, request.pattern, storage)
        found |= {one.address: one for one in scenes if not S3Address.parse(one.address).within(out)}
    found |= {one.address: one for one in _single(single, storage) if one.address not in found}
    if not found:
        raise InvalidParameterError(
            f"there are no images at {', '.join(request.images)}"
            + (f" that match {request.pattern!r}" if request.pattern != "*" else "")
        )
    return _with_different_names(list(found.values()))


def _of_dataset(address: str, storage: Storage) -> Iterator[MapScene]:
    dataset = read_dataset(address, storage)
    for scene in dataset.scenes:
        yield MapScene(name=scene.name, address=storage.check_object(dataset.address(scene.image)))


def _listed(address: str, storage: Storage) -> list[str]:
    """The addresses in a text file: one a line; empty lines and lines that start with # do not count."""
    lines = [
        line.strip()
        for line in decoded(storage.read_bytes(address), address, InvalidParameterError).splitlines()
    ]
    return [line for line in lines if line and not line.startswith("#")]


def _under_prefix(prefix: str, pattern: str, storage: Storage) -> Iterator[MapScene]:
    base = storage.check_allowed(prefix)
    for entry in storage.entries(prefix):
        path = PurePosixPath(entry.address.removeprefix(f"{base}/"))
        hidden = any(part.startswith(".") for part in path.parts)
        if path.suffix.lower() in IMAGE_EXTENSIONS and fnmatch(str(path), pattern) and not hidden:
            yield MapScene(name=str(path), address=entry.address, etag=entry.etag)


def _single(addresses: list[str], storage: Storage) -> Iterator[MapScene]:
    checked = [storage.check_object(address) for address in addresses]
    folders = [address.split("/")[:-1] for address in checked]
    common = 0
    while folders and all(
        len(folder) > common and folder[common] == folders[0][common] for folder in folders
    ):
        common += 1
    for address in checked:
        yield MapScene(name="/".join(address.split("/")[common:]), address=address)


def _with_different_names(scenes: list[MapScene]) -> list[MapScene]:
    """The scenes under names without extensions, where these are unique."""
    short = {scene.address: _without_extension(scene.name) for scene in scenes}
    times = Counter(short.values())
    named = [
        scene if times[short[scene.address]] > 1 else replace(scene, name=short[scene.address])
        for scene in scenes
    ]
    taken: dict[str, MapScene] = {}
    for scene in named:
        other = taken.setdefault(scene.name, scene)
        if other is not scene:
            raise InvalidParameterError(
                f"{other.address} and {scene.address} would have the same map, {scene.name}; map them into "
                "different prefixes"
            )
    return named


def _without_extension(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_EXTENSIONS else name
