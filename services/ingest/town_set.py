"""Made-up towns, for whoever has no data at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.ingest.town import TOWN_CLASSES, make_town
from services.ingest.writer import DatasetWriter

if TYPE_CHECKING:
    from icss_core.dataset import Dataset
    from services.ingest.writer import Progress
    from services.storage import Storage


def ingest_town(
    storage: Storage,
    prefix: str,
    *,
    train: int = 6,
    val: int = 2,
    size: int = 1024,
    seed: int = 0,
    on_scene: Progress | None = None,
) -> Dataset:
    """Generate town scenes under an s3:// prefix.

    Args:
        storage: Where they go.
        prefix: s3:// prefix of the data set.
        train: How many scenes to train on.
        val: How many to validate on.
        size: Side of a scene in pixels of 0.3 m.
        seed: The same seed gives the same scenes.
        on_scene: Called after each.

    Raises:
        InvalidParameterError: scenes too small.
        DatasetError: no scene asked for.
    """
    writer = DatasetWriter(storage, prefix, name="town", classes=TOWN_CLASSES)
    for number in range(train + val):
        name = f"town-{number:02d}"
        scene = make_town(seed=seed, number=number, height=size, width=size)
        writer.add_array(
            name,
            scene.pixels,
            scene.mask,
            split="train" if number < train else "val",
            crs=scene.crs,
            transform=scene.transform,
        )
        if on_scene is not None:
            on_scene(number + 1, train + val, name)
    return writer.finish(notes=f"Generated, seed {seed}; UTM zone 32N, 0.3 m.")
