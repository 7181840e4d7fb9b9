"""The scenes of the main job: into the object store, and back for clicking and scoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from icss_core.errors import DatasetError
from icss_core.labels import IGNORE
from icss_core.raster.reader import open_mask, open_raster
from icss_core.raster.windows import Window
from services.ingest import ingest_dubai, ingest_folder, ingest_town
from services.pictures import to_rgb

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from icss_core.dataset import Dataset
    from services.demo.options import DemoOptions
    from services.ingest.writer import Progress
    from services.storage import Storage


@dataclass(frozen=True, slots=True)
class TrueScene:
    """A scene whose truth is known.

    rgb (H, W, 3) uint8; truth (H, W) uint8, indices of the label space [background, *old, new].
    """

    name: str
    address: str
    rgb: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.uint8]
    georeferenced: bool


def bring_scenes(storage: Storage, options: DemoOptions, prefix: str, on_scene: Progress) -> Dataset:
    """Put the scenes the options ask for under a prefix of the object store.

    Raises:
        DatasetError: the folder is not a data set we read.
    """
    source = options.data
    if source is None:
        return ingest_town(
            storage,
            prefix,
            train=options.scenes,
            val=options.sessions,
            size=options.size,
            seed=options.seed,
            on_scene=on_scene,
        )
    if _is_dubai(source):
        return ingest_dubai(storage, source, prefix, on_scene=on_scene)
    return ingest_folder(storage, source, prefix, name=options.name, on_scene=on_scene)


def true_scenes(
    storage: Storage, dataset: Dataset, classes: Sequence[str], *, new: str, count: int
) -> list[TrueScene]:
    """Validation scenes that have the new class, spread evenly over the data set.

    Args:
        storage: Where the scenes are.
        dataset: Their manifest.
        classes: Old and new classes, in the order of the label space.
        new: The class that must be there.
        count: How many scenes at most.

    Raises:
        DatasetError: no validation scene has the new class, or a class is unknown.
    """
    table = dataset.lookup(classes)
    candidates = [scene for scene in dataset.scenes_of("val") if scene.mask and scene.may_show(new)]
    if not candidates:
        raise DatasetError(f"no validation scene of {dataset.name!r} has the class {new!r}")
    chosen = [candidates[i * len(candidates) // count] for i in range(count)] if count else []
    scenes = []
    with storage.raster_environment():
        for scene in chosen if len(candidates) > count else candidates:
            with open_raster(dataset.address(scene.image)) as raster:
                pixels = raster.read(Window(0, 0, raster.height, raster.width))
                rgb = to_rgb(pixels.values, pixels.valid)
                georeferenced = raster.crs is not None
            with open_mask(dataset.address(scene.mask or "")) as raster:
                labelled = raster.read(Window(0, 0, raster.height, raster.width))
            truth = table[np.where(labelled.valid, labelled.values[0], IGNORE).astype(np.uint8)]
            truth[~pixels.valid] = IGNORE
            scenes.append(TrueScene(scene.name, dataset.address(scene.image), rgb, truth, georeferenced))
    return scenes


def read_map(path: Path) -> npt.NDArray[np.uint8]:
    """Class indices (H, W) uint8 of a class map, 255 = no data."""
    with open_mask(path) as raster:
        pixels = raster.read(Window(0, 0, raster.height, raster.width))
    return np.where(pixels.valid, pixels.values[0], IGNORE).astype(np.uint8)


def _is_dubai(source: Path) -> bool:
    """A folder in one of the two layouts of the Dubai set."""
    if (source / "Tile 1").is_dir():
        return True
    return (source / "split.csv").is_file() and any((source / "images").glob("t?_part???.jpg"))
