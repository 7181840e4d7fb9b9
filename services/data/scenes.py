"""The scenes of a data set, ready for reading crops from S3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from icss_core.data.labelled_scene import LabelledScene
from icss_core.errors import DatasetError
from icss_core.labels import BACKGROUND

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from icss_core.dataset import Dataset, Scene, Split
    from icss_core.raster.raster_pool import RasterPool
    from icss_core.raster.source import RasterSource
    from services.storage import Storage

Wanted = Literal["labelled", "unlabelled", "all"]
"""Scenes with a mask, those without, or both."""


def open_scenes(
    dataset: Dataset,
    split: Split,
    *,
    classes: tuple[str, ...],
    storage: Storage,
    pool: RasterPool,
    wanted: Wanted = "labelled",
    hidden: tuple[str, ...] = (),
    others: int = BACKGROUND,
    only: Collection[str] | None = None,
    possible: bool = False,
    objectness: bool = False,
    background: bool = True,
) -> list[LabelledScene]:
    """The scenes of a split; nothing is opened before it is read.

    Read inside `storage.raster_environment()`. Only windows are fetched, each block once while it stays in
    the pool's cache. What is wrong with a raster is said when it is first read.

    Args:
        dataset: the data.
        split: which scenes.
        classes: of the model.
        storage: where they lie.
        pool: opens and closes their rasters; one for all scenes that a process reads.
        wanted: scenes with a mask, without, or all; crops of those without are unlabelled (255).
        hidden: classes that count as others.
        others: what the masks show all classes as that the model does not know, or that are hidden.
        only: names of scenes; None: all.
        possible: whether each scene says which classes it may show: those of its image-level labels.
        objectness: whether each scene comes with its objectness.
        background: whether background is always among them.

    Raises:
        UriNotAllowedError: a scene lies outside the allowed prefixes.
        DatasetError: a scene lacks what is asked for; the message names it.
    """
    lookup = dataset.lookup(classes, hidden=hidden, others=others)

    def raster(address: str) -> RasterSource:
        return pool.source(storage.check_allowed(dataset.address(address)))

    return [
        LabelledScene(
            image=raster(scene.image),
            mask=None if scene.mask is None else raster(scene.mask),
            lookup=lookup,
            possible=_possible(scene, classes, hidden, background=background) if possible else None,
            objectness=raster(_objectness(scene)) if objectness else None,
            size=scene.size,
            name=scene.name,
        )
        for scene in scenes_wanted(dataset, split, wanted)
        if only is None or scene.name in only
    ]


def scenes_wanted(dataset: Dataset, split: Split, wanted: Wanted) -> list[Scene]:
    """Scenes of a split with a mask, without, or all, in the file's order."""
    return [
        scene
        for scene in dataset.scenes_of(split)
        if wanted == "all" or (scene.mask is not None) == (wanted == "labelled")
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
