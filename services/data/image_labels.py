"""Which classes each training scene shows: from the data set where it says so, else from the masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icss_core.raster.reader import open_mask
from icss_core.raster.windows import grid

if TYPE_CHECKING:
    from icss_core.dataset import Dataset, Scene
    from services.storage import Storage

_WINDOW = 2048


def image_labels(dataset: Dataset, storage: Storage) -> dict[str, tuple[str, ...]]:
    """Names of the classes of interest that each training scene's mask shows, by scene.

    Raises:
        IcssError: a mask cannot be read.
    """
    scenes = [scene for scene in dataset.scenes_of("train") if scene.mask is not None]
    with storage.raster_environment():
        return {
            scene.name: _read(dataset, scene, storage) if scene.labels is None else scene.labels
            for scene in scenes
        }


def _read(dataset: Dataset, scene: Scene, storage: Storage) -> tuple[str, ...]:
    assert scene.mask is not None  # noqa: S101 - asked for scenes with one
    present: set[int] = set()
    with open_mask(storage.check_allowed(dataset.address(scene.mask))) as mask:
        for window in grid(mask.height, mask.width, window=_WINDOW, stride=_WINDOW):
            read = mask.read(window)
            present.update(np.unique(read.values[0][read.valid]).tolist())
    names = dataset.classes.names
    return tuple(names[index] for index in dataset.classes.classes_of_interest if index in present)
