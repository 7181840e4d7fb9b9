"""A data set made from another one: coarser, cut into tiles, or with sparse labels drawn from its masks."""

from __future__ import annotations

import itertools
import zlib
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from affine import Affine

from icss_core.clicks import point_per_region, scribble_per_region
from icss_core.errors import InvalidParameterError
from icss_core.labels import BACKGROUND, IGNORE
from icss_core.raster.reader import open_mask, open_raster
from icss_core.raster.windows import Window
from services.data.dataset import read_dataset
from services.ingest.writer import DatasetWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    tile: int | None = None,
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
        tile: training scenes are cut into tiles of about this many pixels (of the copy) along each side, all
            of a scene as large as each other; None leaves them whole. A loss on image labels
            learns from classes that an image lacks: a tile lacks some, a whole city none.
        labels: what training scenes are labelled with; points and scribbles are one in each connected piece
            of a class, in each tile. Validation scenes stay whole and keep their masks.
        background: whether pieces of the background get points and scribbles as well.
        seed: of the points.
        on_scene: called after each scene.

    Raises:
        InvalidParameterError: `shrink` or `tile` is below 1.
        IcssError: the source cannot be read.
    """
    for what, value in (("shrink", shrink), ("tile", tile)):
        if value is not None and value < 1:
            raise InvalidParameterError(f"{what} is at least 1, not {value}")
    dataset = read_dataset(source, storage)
    writer = DatasetWriter(
        storage, prefix, name=_name(dataset.name, shrink, tile, labels), classes=dataset.classes
    )
    unlabelled = 0
    for number, scene in enumerate(dataset.scenes, start=1):
        pixels, mask, place = _read(storage, dataset, scene)
        pixels, mask = _mean(pixels, shrink), None if mask is None else _commonest(mask, shrink)
        training = scene.split == "train"
        for suffix, rows, columns in _tiles(pixels.shape[1:], tile if training else None):
            name, part = f"{scene.name}{suffix}", None if mask is None else mask[rows, columns]
            if part is not None and training and labels != "masks":
                part = _sparse(part, labels, background=background, seed=[seed, zlib.crc32(name.encode())])
                unlabelled += part is None
            corner = Affine.scale(shrink) @ Affine.translation(columns.start, rows.start)
            where = {**place, "transform": place["transform"] @ corner} if place else {}
            writer.add_array(name, pixels[:, rows, columns], part, split=scene.split, **where)
        if on_scene is not None:
            on_scene(number, len(dataset.scenes), scene.name)
    return writer.finish(notes=_notes(dataset.name, shrink, tile, labels, unlabelled=unlabelled))


def _name(source: str, shrink: int, tile: int | None, labels: Labels) -> str:
    changes = [str(shrink)] * (shrink > 1) + ([] if tile is None else [f"tiles{tile}"])
    return "-".join([source, *changes, *[labels] * (labels != "masks")])


def _notes(source: str, shrink: int, tile: int | None, labels: Labels, *, unlabelled: int) -> str:
    notes = f"Made from {source}: shrunk {shrink} times, training scenes labelled by {labels}."
    if tile is not None:
        notes += f" Training scenes are tiles of about {tile} pixels."
    if unlabelled:
        notes += f" Nothing to label was found in {unlabelled} of them."
    return notes


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
        with open_mask(storage.check_allowed(dataset.address(scene.mask))) as raster:
            mask = raster.read(Window(0, 0, raster.height, raster.width)).values[0].astype(np.uint8)
    mask[~pixels.valid] = IGNORE
    return pixels.values, mask, place


def _tiles(shape: tuple[int, ...], tile: int | None) -> Iterator[tuple[str, slice, slice]]:
    """What each tile adds to the scene's name, its rows and columns; the whole where `tile` is None."""
    if tile is None:
        yield "", slice(0, shape[0]), slice(0, shape[1])
        return
    edges = [
        np.linspace(0, length, max(1, round(length / tile)) + 1).astype(int).tolist() for length in shape
    ]
    for row, (top, bottom) in enumerate(itertools.pairwise(edges[0])):
        for column, (left, right) in enumerate(itertools.pairwise(edges[1])):
            yield f"_{row}_{column}", slice(top, bottom), slice(left, right)


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
    rounded: npt.NDArray[Any] = np.rint(mean) if np.issubdtype(pixels.dtype, np.integer) else mean
    return rounded.astype(pixels.dtype)


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
) -> npt.NDArray[np.uint8] | None:
    """None where there is nothing to label."""
    without = () if background else (BACKGROUND,)
    if labels == "points":
        sparse = point_per_region(mask, seed=seed, without=without)
    else:
        sparse = scribble_per_region(mask, without=without)
    return None if (sparse == IGNORE).all() else sparse
