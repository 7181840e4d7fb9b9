"""The class maps that trials kept, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from icss_core.labels import IGNORE
from icss_core.raster.reader import open_mask, open_raster
from icss_core.raster.windows import Window
from services.pictures import grid_picture, read_map, to_rgb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from icss_core.dataset import Dataset
    from icss_core.raster.reader import Raster
    from services.storage import Storage
    from services.tracking import Tracking


def maps_picture(
    tracking: Tracking,
    columns: Mapping[str, str],
    dataset: Dataset,
    names: Sequence[str],
    *,
    limit: int,
    storage: Storage,
) -> bytes | None:
    """Validation images in rows; image, truth and each method's map in columns; None where no map was kept.

    Args:
        tracking: where the maps are, as `maps/SCENE.png`.
        columns: MLflow runs by the title of their column.
        dataset: with the images and masks.
        names: classes, in the order of their indices in the maps.
        limit: the highest number of images.
        storage: of the data set.

    Raises:
        IcssError: an image or a map cannot be read.
    """
    # a missing map means that the trial did not come to that image; a map that cannot be read is an error
    files_by_run = [(run_id, frozenset(tracking.files(run_id, "maps"))) for run_id in columns.values()]
    rows: list[list[npt.NDArray[np.uint8]]] = []
    for scene in dataset.scenes_of("val"):
        if len(rows) == limit or scene.mask is None:
            continue
        name = f"maps/{scene.name}.png"
        maps = [
            read_map(tracking.read_bytes(run_id, name)) if name in files else None
            for run_id, files in files_by_run
        ]
        if all(labels is None for labels in maps):
            continue
        with storage.raster_environment():
            image = _whole(open_raster(storage.check_allowed(dataset.address(scene.image))))
            mask = _whole(open_mask(storage.check_allowed(dataset.address(scene.mask))))
        rgb, truth = to_rgb(image), dataset.lookup(tuple(names))[mask[0]]
        missing = np.full(truth.shape, IGNORE, np.uint8)
        rows.append([rgb, truth, *(missing if labels is None else labels for labels in maps)])
    return grid_picture(rows, dataset.select(names), titles=["image", "truth", *columns]) if rows else None


def _whole(raster: Raster) -> npt.NDArray[Any]:
    with raster:
        return raster.read(Window(0, 0, raster.height, raster.width)).values
