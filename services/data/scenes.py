"""The scenes of a data set, ready for reading crops from S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icss_core.data.labelled_scene import LabelledScene
from icss_core.data.scene_request import SceneRequest
from icss_core.errors import DatasetError
from icss_core.labels import name_key
from icss_core.networks.checked_source import CheckedSource
from icss_core.raster.reader import open_mask, open_raster

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from icss_core.data.scene_request import SceneKind
    from icss_core.dataset import Dataset, Scene, Split
    from icss_core.networks.normalisation import Normalisation
    from icss_core.raster.raster_pool import Opener, RasterPool
    from icss_core.raster.source import RasterSource
    from services.storage import Storage


def open_scenes(
    dataset: Dataset,
    split: Split,
    *,
    classes: tuple[str, ...],
    storage: Storage,
    pool: RasterPool,
    request: SceneRequest | None = None,
    only: Collection[str] | None = None,
    statistics: Normalisation | None = None,
) -> list[LabelledScene]:
    """The scenes of a split; nothing is opened before it is read.

    Read inside `storage.raster_environment()`. Only windows are fetched, each block once while it stays in
    the pool's cache. Errors of a raster are raised when it is first read.

    Args:
        dataset: the data.
        split: which scenes.
        classes: of the model.
        storage: where they lie.
        pool: opens and closes their rasters; one for all scenes that a process reads.
        request: which scenes, and how they are read; None: those with a mask.
        only: names of scenes; None: all.
        statistics: of the network, which notice undeclared fill values; None: nothing is noticed.

    Raises:
        UriNotAllowedError: a scene lies outside the allowed prefixes.
        DatasetError: a scene lacks what is asked for; the message names it.
    """
    request = request or SceneRequest()
    lookup = dataset.lookup(classes, hidden=request.hidden, other_label=request.other_label)

    def raster(address: str, opener: Opener = open_mask) -> RasterSource:
        return pool.source(storage.check_allowed(dataset.address(address)), opener)

    def image(scene: Scene) -> RasterSource:
        opened = raster(scene.image, open_raster)
        return opened if statistics is None else CheckedSource(opened, statistics, name=scene.image)

    return [
        LabelledScene(
            image=image(scene),
            mask=None if scene.mask is None else raster(scene.mask),
            lookup=lookup,
            possible=_possible(scene, classes, request) if request.image_labels else None,
            maps={name: raster(_map_address(scene, name)) for name in request.maps},
            size=scene.size,
            name=scene.name,
        )
        for scene in scenes_of_kind(dataset, split, request.kind)
        if only is None or scene.name in only
    ]


def scenes_of_kind(dataset: Dataset, split: Split, kind: SceneKind) -> list[Scene]:
    """Scenes of a split with a mask, without, or all, in the file's order."""
    return [
        scene
        for scene in dataset.scenes_of(split)
        if kind == "all" or (scene.mask is not None) == (kind == "labelled")
    ]


def _possible(scene: Scene, classes: tuple[str, ...], request: SceneRequest) -> NDArray[np.bool_]:
    """(N,) classes of a model that a scene may show."""
    if scene.labels is None:
        raise DatasetError(f"scene {scene.name!r} does not say which classes it shows")
    shown = set(map(name_key, scene.labels)) - set(map(name_key, request.hidden))
    return np.array([request.background, *(name_key(name) in shown for name in classes)])


def _map_address(scene: Scene, name: str) -> str:
    """The address that a scene gives."""
    if name not in scene.maps:
        raise DatasetError(f"scene {scene.name!r} has no {name}, which the method learns from")
    return scene.maps[name]
