"""Which images a mapping job takes, and what their maps are called."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from icss_core.errors import InvalidParameterError
from icss_core.raster.formats import IMAGE_EXTENSIONS
from services.data.find_images import find_images

if TYPE_CHECKING:
    from services.data.find_images import StoredImage
    from services.mapping.request import MapRequest
    from services.storage import Storage


def find_scenes(request: MapRequest, storage: Storage) -> list[StoredImage]:
    """The images of a request, each once, in the order of the request; their names are those of the maps.

    Maps are called as the images (`StoredImage.name`), without extension. Where two would have the same name,
    as `a.tif` and `a.jpg` in one folder, the extension stays part of it.

    Raises:
        InvalidParameterError: there is no image, or two would have the same map.
        IcssError: as `find_images`.
    """
    found = find_images(request.images, storage, pattern=request.pattern, apart_from=request.out)
    if not found:
        raise InvalidParameterError(
            f"there are no images at {', '.join(request.images)}"
            + (f" that match {request.pattern!r}" if request.pattern != "*" else "")
        )
    return _with_different_names(found)


def _with_different_names(scenes: list[StoredImage]) -> list[StoredImage]:
    """The scenes under names without extensions, where these are unique."""
    short = {scene.address: _without_extension(scene.name) for scene in scenes}
    times = Counter(short.values())
    named = [
        scene if times[short[scene.address]] > 1 else replace(scene, name=short[scene.address])
        for scene in scenes
    ]
    taken: dict[str, StoredImage] = {}
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
