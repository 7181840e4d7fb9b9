"""The scenes of a data set, opened for reading crops from S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icss_core.data.labelled_scene import LabelledScene
from icss_core.data.scene_request import SceneRequest
from icss_core.errors import DatasetError
from icss_core.raster.reader import open_raster
from icss_core.raster.tile_cache import CachedSource

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextlib import ExitStack

    from numpy.typing import NDArray

    from icss_core.dataset import Dataset, Scene, Split
    from icss_core.raster.reader import RasterSource
    from services.storage import Storage

_CACHE_BYTES = 2**30
"""Decoded pixels kept in memory by one worker, all scenes together."""


def open_scenes(
    dataset: Dataset,
    split: Split,
    *,
    classes: tuple[str, ...],
    storage: Storage,
    closing: ExitStack,
    request: SceneRequest | None = None,
    only: Collection[str] | None = None,
) -> list[LabelledScene]:
    """All scenes of a split that have a mask; their handles are closed by `closing`.

    Call and read inside `storage.raster_environment()`. Only windows are fetched, each block once while it
    stays in the cache.

    Args:
        dataset: the data.
        split: which scenes.
        classes: of the model.
        storage: where they lie.
        closing: closes them.
        request: which scenes, and what of each; None: those with a mask.
        only: names of scenes; None: all.

    Raises:
        UriNotAllowedError: a scene lies outside the allowed prefixes.
        ImageNotFoundError, ImageUnreadableError, DatasetError: a scene cannot be used, or lacks what is asked
            for; the message names it.
    """
    request = request or SceneRequest()
    chosen = [
        scene
        for scene in dataset.scenes_of(split)
        if scene.mask is not None and (only is None or scene.name in only)
    ]
    lookup = dataset.lookup(classes, hidden=request.hidden, others=request.others)
    rasters = (2 + len(request.maps)) * len(chosen)

    def opened(address: str) -> RasterSource:
        raster = closing.enter_context(open_raster(storage.check_allowed(dataset.address(address))))
        return CachedSource(raster, max_bytes=_CACHE_BYTES // max(rasters, 1))

    return [
        LabelledScene(
            image=opened(scene.image),
            mask=opened(scene.mask),
            lookup=lookup,
            possible=_possible(scene, classes, request) if request.image_labels else None,
            maps={name: opened(_map_address(scene, name)) for name in request.maps},
        )
        for scene in chosen
        if scene.mask is not None
    ]


def _possible(scene: Scene, classes: tuple[str, ...], request: SceneRequest) -> NDArray[np.bool_]:
    """(N,) classes of a model that a scene may show."""
    if scene.labels is None:
        raise DatasetError(f"scene {scene.name!r} does not say which classes it shows")
    shown = {name.casefold() for name in scene.labels} - {name.casefold() for name in request.hidden}
    return np.array([request.background, *(name.casefold() in shown for name in classes)])


def _map_address(scene: Scene, name: str) -> str:
    """The address that a scene gives."""
    if name not in scene.maps:
        raise DatasetError(f"scene {scene.name!r} has no {name}, which the method learns from")
    return scene.maps[name]
