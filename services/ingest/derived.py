"""A data set made from another one: at a coarser resolution, or with sparse labels drawn from its masks."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from affine import Affine

from icss_core.clicks import point_per_region, scribble_per_region
from icss_core.errors import InvalidParameterError
from icss_core.labels import BACKGROUND, IGNORE
from icss_core.raster.reader import open_raster
from icss_core.raster.windows import Window
from services.ingest.writer import DatasetWriter
from services.training.plan import read_dataset

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from icss_core.dataset import Dataset, Scene
    from services.ingest.writer import Progress
    from services.storage import Storage

Labels = Literal["masks", "points", "scribbles"]


def ingest_derived(
    storage: Storage,
    source: str,
    prefix: str,
    *,
    shrink: int = 1,
    labels: Labels = "masks",
    background: bool = False,
    seed: int = 0,
    on_scene: Progress | None = None,
) -> Dataset:
    """Write a changed copy of a data set. A scene at a time is in memory, whole.

    Where an image has no data, the copy has zeros without label. Objectness is not copied.

    Args:
        storage: where both are.
        source: address of the other's dataset.yaml.
        prefix: s3:// prefix of the new one.
        shrink: pixels of the source along each side of a new one: their mean, and their commonest label.
        labels: what training scenes are labelled with; points and scribbles are one in each connected piece
            of a class. Validation scenes keep their masks.
        background: whether pieces of the background get points and scribbles as well.
        seed: of the points.
        on_scene: called after each scene.

    Raises:
        InvalidParameterError: `shrink` is below 1.
        IcssError: the source cannot be read.
    """
    if shrink < 1:
        raise InvalidParameterError(f"shrink is at least 1, not {shrink}")
    dataset = read_dataset(source, storage)
    name = "-".join([dataset.name, *[str(shrink)] * (shrink > 1), *[labels] * (labels != "masks")])
    writer = DatasetWriter(storage, prefix, name=name, classes=dataset.classes)
    unlabelled = 0
    for number, scene in enumerate(dataset.scenes, start=1):
        pixels, mask, place = _read(storage, dataset, scene)
        pixels = _mean(pixels, shrink)
        if mask is not None:
            mask = _commonest(mask, shrink)
            if scene.split == "train" and labels != "masks":
                mask = _sparse(
                    mask, labels, background=background, seed=[seed, zlib.crc32(scene.name.encode())]
                )
                if (mask == IGNORE).all():
                    mask, unlabelled = None, unlabelled + 1
        if place:
            place["transform"] = place["transform"] @ Affine.scale(shrink)
        writer.add_array(scene.name, pixels, mask, split=scene.split, **place)
        if on_scene is not None:
            on_scene(number, len(dataset.scenes), scene.name)
    notes = f"Made from {dataset.name}: shrunk {shrink} times, training scenes labelled by {labels}."
    if unlabelled:
        notes += f" Nothing to label was found in {unlabelled} of them."
    return writer.finish(notes=notes)


def _read(
    storage: Storage, dataset: Dataset, scene: Scene
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8] | None, dict[str, Any]]:
    """Pixels (C, H, W), zero where there is no data, mask (H, W) or None, and the place on the map."""
    with storage.raster_environment():
        with open_raster(storage.check_allowed(dataset.address(scene.image))) as raster:
            pixels = raster.read(Window(0, 0, raster.height, raster.width))
            place: dict[str, Any] = {}
            if not raster.transform.is_identity:
                crs = None if raster.crs is None else raster.crs.to_wkt()
                place = {"crs": crs, "transform": raster.transform}
        if scene.mask is None:
            return pixels.values, None, place
        with open_raster(storage.check_allowed(dataset.address(scene.mask))) as raster:
            mask = raster.read(Window(0, 0, raster.height, raster.width)).values[0].astype(np.uint8)
    mask[~pixels.valid] = IGNORE
    return pixels.values, mask, place


def _blocks(values: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """(..., H, W) as (..., H // side, W // side, side * side); what is over at the end is dropped."""
    height, width = (length // side for length in values.shape[-2:])
    whole = values[..., : height * side, : width * side]
    cut = whole.reshape(*values.shape[:-2], height, side, width, side).swapaxes(-3, -2)
    blocks: npt.NDArray[Any] = cut.reshape(*values.shape[:-2], height, width, side * side)
    return blocks


def _mean(pixels: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    if side == 1:
        return pixels
    mean = _blocks(pixels, side).mean(axis=-1)
    found: npt.NDArray[Any] = np.rint(mean) if np.issubdtype(pixels.dtype, np.integer) else mean
    return found.astype(pixels.dtype)


def _commonest(mask: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    if side == 1:
        return mask
    blocks = _blocks(mask, side)
    present = np.unique(mask)
    counts = np.stack([(blocks == label).sum(axis=-1) for label in present])
    commonest: npt.NDArray[np.uint8] = present[counts.argmax(axis=0)]
    return commonest


def _sparse(
    mask: npt.NDArray[np.uint8], labels: Labels, *, background: bool, seed: Sequence[int]
) -> npt.NDArray[np.uint8]:
    without = () if background else (BACKGROUND,)
    if labels == "points":
        return point_per_region(mask, seed=seed, without=without)
    return scribble_per_region(mask, without=without)
