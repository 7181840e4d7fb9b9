"""The scenes of a data set, opened for reading crops from S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icss_core.data.labelled_scene import LabelledScene
from icss_core.errors import DatasetError
from icss_core.labels import BACKGROUND
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
    hidden: tuple[str, ...] = (),
    others: int = BACKGROUND,
    only: Collection[str] | None = None,
    possible: bool = False,
    objectness: bool = False,
    background: bool = True,
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
        hidden: classes that count as others.
        others: what the masks show all classes as that the model does not know, or that are hidden.
        only: names of scenes; None: all.
        possible: whether each scene says which classes it may show: those of its image-level labels.
        objectness: whether each scene comes with its objectness.
        background: whether background is always among them.

    Raises:
        UriNotAllowedError: a scene lies outside the allowed prefixes.
        ImageNotFoundError, ImageUnreadableError, DatasetError: a scene cannot be used, or lacks what is asked
            for; the message names it.
    """
    chosen = [
        scene
        for scene in dataset.scenes_of(split)
        if scene.mask is not None and (only is None or scene.name in only)
    ]
    lookup = dataset.lookup(classes, hidden=hidden, others=others)
    share = _CACHE_BYTES // max((3 if objectness else 2) * len(chosen), 1)

    def opened(address: str) -> RasterSource:
        raster = closing.enter_context(open_raster(storage.check_allowed(dataset.address(address))))
        return CachedSource(raster, max_bytes=share)

    return [
        LabelledScene(
            image=opened(scene.image),
            mask=opened(scene.mask),
            lookup=lookup,
            possible=_possible(scene, classes, hidden, background=background) if possible else None,
            objectness=opened(_objectness(scene)) if objectness else None,
        )
        for scene in chosen
        if scene.mask is not None
    ]


def _possible(
    scene: Scene, classes: tuple[str, ...], hidden: tuple[str, ...], *, background: bool
) -> NDArray[np.bool_]:
    """(N,) classes of a model that a scene may show."""
    if scene.labels is None:
        raise DatasetError(f"scene {scene.name!r} does not say which classes it shows")
    shown = {name.casefold() for name in scene.labels} - {name.casefold() for name in hidden}
    return np.array([background, *(name.casefold() in shown for name in classes)])


def _objectness(scene: Scene) -> str:
    """The address that a scene gives."""
    if scene.objectness is None:
        raise DatasetError(f"scene {scene.name!r} has no objectness, which the method learns from")
    return scene.objectness
