"""A data set made from another one: coarser, cut into tiles, or with sparse labels drawn from its masks."""

from __future__ import annotations

import itertools
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

from icss_core.clicks import point_per_region, scribble_per_region
from icss_core.errors import InvalidParameterError
from icss_core.labels import BACKGROUND, IGNORE
from icss_core.raster.reader import open_mask, open_raster
from icss_core.raster.source import Pixels
from icss_core.raster.windows import Window
from services.data.dataset import read_dataset
from services.ingest.writer import DatasetWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from icss_core.dataset import Dataset, Scene
    from icss_core.raster.reader import Raster
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
    validation: str | None = None,
    without: str | None = None,
    on_scene: Progress | None = None,
) -> Dataset:
    """Write a changed copy of a data set. A scene at a time is in memory, whole.

    The copy lies where the images do: by transform, ground control points and RPCs, of which each tile has
    its own. A new pixel is the mean of those with data, and has the commonest of their labels; where none
    has data, it has neither data nor label. Maps of scenes, such as objectness, become means alike.

    Args:
        storage: where both are.
        source: address of the other's dataset.yaml.
        prefix: s3:// prefix of the new one.
        shrink: pixels of the source along each side of a new one.
        tile: training scenes are cut into tiles of about this many pixels (of the copy) along each side, all
            of a scene as large as each other; None leaves them whole. A loss on image labels
            learns from classes that an image lacks: a tile lacks some, a whole city none.
        labels: what training scenes are labelled with; points and scribbles are one in each connected piece
            of a class, in each tile. Validation scenes stay whole and keep their masks.
        background: whether pieces of the background get points and scribbles as well.
        seed: of the points.
        validation: regular expression: scenes in whose names it is found are for validation, all others for
            training, so that whole districts are kept from training; None: as in the source.
        without: regular expression: scenes in whose names it is found are left out.
        on_scene: called after each scene.

    Raises:
        InvalidParameterError: `shrink` or `tile` is below 1, or an expression is none, or leaves no scene to
            train on, to validate on, or at all.
        IcssError: the source cannot be read.
    """
    for what, value in (("shrink", shrink), ("tile", tile)):
        if value is not None and value < 1:
            raise InvalidParameterError(f"{what} is at least 1, not {value}")
    dataset = read_dataset(source, storage)
    scenes = _chosen(dataset.scenes, validation=validation, without=without)
    writer = DatasetWriter(
        storage, prefix, name=_name(dataset.name, shrink, tile, labels), classes=dataset.classes
    )
    unlabelled = 0
    for number, scene in enumerate(scenes, start=1):
        image, mask, maps = _read(storage, dataset, scene)
        pixels, maps = _mean(image.pixels, shrink), {kind: _mean(one, shrink) for kind, one in maps.items()}
        mask = None if mask is None else _commonest(mask, image.pixels.valid, shrink)
        training = scene.split == "train"
        for suffix, rows, columns in _tiles(pixels.valid.shape, tile if training else None):
            name, part = f"{scene.name}{suffix}", None if mask is None else mask[rows, columns]
            if part is not None and training and labels != "masks":
                part = _sparse(part, labels, background=background, seed=[seed, zlib.crc32(name.encode())])
                unlabelled += part is None
            writer.add_array(
                name,
                pixels.values[:, rows, columns],
                part,
                split=scene.split,
                valid=pixels.valid[rows, columns],
                nodata=image.nodata,
                maps={
                    kind: Pixels(one.values[:, rows, columns], one.valid[rows, columns])
                    for kind, one in maps.items()
                },
                **image.place(shrink, rows.start, columns.start),
            )
        if on_scene is not None:
            on_scene(number, len(scenes), scene.name)
    return writer.finish(notes=_notes(dataset.name, shrink, tile, labels, unlabelled=unlabelled))


def _chosen(scenes: Sequence[Scene], *, validation: str | None, without: str | None) -> list[Scene]:
    """The scenes that are kept, with the split that they get; see `ingest_derived`."""
    kept = [scene for scene in scenes if without is None or not _found(without, scene.name)]
    if validation is not None:
        kept = [
            scene.model_copy(update={"split": "val" if _found(validation, scene.name) else "train"})
            for scene in kept
        ]
        for split in ("train", "val"):
            if not any(scene.split == split for scene in kept):
                raise InvalidParameterError(f"{validation!r} leaves no scene of the split {split!r}")
    if not kept:
        raise InvalidParameterError(f"{without!r} leaves no scene")
    return kept


def _found(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error as error:
        raise InvalidParameterError(f"{pattern!r} is no regular expression: {error}") from error


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


@dataclass(frozen=True, slots=True)
class _Image:
    """An image in memory, and where it lies."""

    pixels: Pixels
    nodata: float | None
    crs: str | None
    transform: Affine | None
    gcps: tuple[GroundControlPoint, ...]
    rpcs: RPC | None

    def place(self, shrink: int, top: int, left: int) -> dict[str, Any]:
        """Where a part of the coarser copy lies that begins at these of its rows and columns."""
        place: dict[str, Any] = {"crs": self.crs}
        if self.transform is not None:
            place["transform"] = self.transform @ Affine.scale(shrink) @ Affine.translation(left, top)
        place["gcps"] = [
            GroundControlPoint(
                point.row / shrink - top, point.col / shrink - left, point.x, point.y, point.z, point.id
            )
            for point in self.gcps
        ]
        if self.rpcs is not None:
            # they count from the centre of the first pixel
            moved = {
                "line_off": (self.rpcs.line_off + 0.5) / shrink - 0.5 - top,
                "line_scale": self.rpcs.line_scale / shrink,
                "samp_off": (self.rpcs.samp_off + 0.5) / shrink - 0.5 - left,
                "samp_scale": self.rpcs.samp_scale / shrink,
            }
            place["rpcs"] = RPC(**self.rpcs.to_dict() | moved)
        return place


def _read(
    storage: Storage, dataset: Dataset, scene: Scene
) -> tuple[_Image, npt.NDArray[np.uint8] | None, dict[str, Pixels]]:
    """An image; its mask (H, W) without label where there is no data, or None; its maps by name."""
    with storage.raster_environment():
        with open_raster(storage.check_allowed(dataset.address(scene.image))) as raster:
            placed = not raster.transform.is_identity
            crs = raster.crs if placed else raster.gcps_crs or raster.crs
            image = _Image(
                pixels=_all_of(raster),
                nodata=_representable(raster.nodata, raster.dtype),
                crs=None if crs is None else crs.to_wkt(),
                transform=raster.transform if placed else None,
                gcps=() if placed else raster.gcps,
                rpcs=raster.rpcs,
            )
        maps, mask = {}, None
        for kind, address in scene.maps.items():
            with open_mask(storage.check_allowed(dataset.address(address))) as raster:
                maps[kind] = _all_of(raster)
        if scene.mask is not None:
            with open_mask(storage.check_allowed(dataset.address(scene.mask))) as raster:
                mask = _all_of(raster).values[0].astype(np.uint8)
                mask[~image.pixels.valid] = IGNORE
    return image, mask, maps


def _all_of(raster: Raster) -> Pixels:
    return raster.read(Window(0, 0, raster.height, raster.width))


def _representable(nodata: float | None, dtype: str) -> float | None:
    """A nodata value that pixels of a type can have; None otherwise."""
    kind = np.dtype(dtype)
    if nodata is None or np.issubdtype(kind, np.floating):
        return nodata
    limits = np.iinfo(kind)
    return nodata if float(nodata).is_integer() and limits.min <= nodata <= limits.max else None


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


def _mean(pixels: Pixels, side: int) -> Pixels:
    """Of the pixels with data in each block their mean; 0, and no data, where there are none."""
    if side == 1:
        return pixels
    kind = pixels.values.dtype
    counts = _blocks(pixels.valid, side).sum(axis=-1)
    # pixels without data are 0
    mean = _blocks(pixels.values, side).sum(axis=-1, dtype=np.float64) / np.maximum(counts, 1)
    rounded: npt.NDArray[Any] = np.rint(mean) if np.issubdtype(kind, np.integer) else mean
    return Pixels(rounded.astype(kind), counts > 0)


def _commonest(mask: npt.NDArray[np.uint8], valid: npt.NDArray[np.bool_], side: int) -> npt.NDArray[np.uint8]:
    """The commonest label of the pixels with data in each block; 255 where there are none."""
    if side == 1:
        return mask
    blocks, data = _blocks(mask, side), _blocks(valid, side)
    present = np.unique(mask)
    counts = np.stack([((blocks == label) & data).sum(axis=-1) for label in present])
    commonest: npt.NDArray[np.uint8] = present[counts.argmax(axis=0)]
    return np.where(counts.any(axis=0), commonest, np.uint8(IGNORE))


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
