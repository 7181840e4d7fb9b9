"""Which crops a training step sees.

Every sampler is a pure function of (seed, rank, step): a run that resumes at step 700 sees what it would have
seen, and a worker needs no state but the step number.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from icss_core.data.crop_window import area_window, check_resizing, scaled_window
from icss_core.data.resizing import resize_known, resize_labels, resize_pixels
from icss_core.errors import DatasetError, InvalidParameterError
from icss_core.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from icss_core.raster.reader import RasterSource
    from icss_core.raster.windows import Window


class Crop(NamedTuple):
    """Where the pixels of a batch come from: crops that are equal hold equal pixels."""

    row: int
    col: int
    flip: tuple[int, ...] = ()
    """Spatial axes that were mirrored."""


class Cut(NamedTuple):
    """What a window of a scene holds."""

    pixels: NDArray[np.generic]
    """(C, h, w), zero where invalid."""
    labels: NDArray[np.uint8]
    """(h, w), 255 where unlabelled or invalid."""
    objectness: NDArray[np.float32] | None
    """(h, w) in [0, 1], NaN where not known or invalid; None for a scene without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one optimiser step sees."""

    pixels: Tensor
    """(B, C, h, w), raw values in the image's own dtype."""
    labels: Tensor
    """(B, h, w) int64, label-space indices, 255 = unlabelled."""
    memory_logits: Tensor | None = None
    """(B, O, h, w) float, the memory network's logits, where a regulariser needs them."""
    memory_labels: Tensor | None = None
    """(B, h, w) int64, its class map, 255 = no data, where a regulariser needs it."""
    possible: Tensor | None = None
    """(B, N) bool, the classes that each crop's image may show, where labels are few."""
    objectness: Tensor | None = None
    """(B, h, w) float32, how likely a pixel belongs to an object, in [0, 1]; NaN where that is not known,
    beyond the scene and without data."""
    crops: tuple[Crop, ...] = ()
    """Places in the image, for samplers of one image."""
    step: int = 0
    """Iteration that sees the batch, counted from 0."""

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; page-locked tensors are copied without waiting."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> Batch:
        """The batch in page-locked memory, from which a GPU copies in the background."""
        return self._each(Tensor.pin_memory)

    def parts(self, number: int) -> list[Batch]:
        """The batch cut into at most so many parts, as even as they can be; itself where that is one."""
        if min(number, len(self)) == 1:
            return [self]
        edges = [len(self) * part // number for part in range(number + 1)]
        return [
            replace(self._each(operator.itemgetter(slice(*ends))), crops=self.crops[slice(*ends)])
            for ends in pairwise(edges)
            if ends[0] < ends[1]
        ]

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        changed: dict[str, Any] = {
            field.name: change(value)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledScene:
    """An image with its dense mask."""

    image: RasterSource
    mask: RasterSource
    """One band of uint8 ids on the image's grid."""
    lookup: NDArray[np.uint8]
    """(256,) from mask ids to label-space indices, 255 = ignore."""
    possible: NDArray[np.bool_] | None = None
    """(N,) classes that the whole scene may show, where its mask labels a part of it only."""
    objectness: RasterSource | None = None
    """One band of uint8 on the image's grid, 255 times the probability of an object."""

    def __post_init__(self) -> None:
        one = (self.image.height, self.image.width)
        for name, raster in (("mask", self.mask), ("objectness", self.objectness)):
            if raster is None:
                continue
            other = (raster.height, raster.width)
            if one != other:
                raise DatasetError(
                    f"the image has {one[0]} x {one[1]} pixels, its {name} {other[0]} x {other[1]}"
                )
            if raster.bands != 1 or raster.dtype != "uint8":
                raise DatasetError(
                    f"the {name} must have one uint8 band, not {raster.bands} of {raster.dtype}"
                )

    def crop(self, window: Window) -> tuple[NDArray[np.generic], NDArray[np.uint8]]:
        """Pixels (C, h, w), zero where invalid, and labels (h, w) uint8, 255 where unlabelled or invalid."""
        pixels, labels, _ = self._labelled(window)
        return pixels, labels

    def cut(self, window: Window) -> Cut:
        """The same, and the objectness where the scene has one."""
        pixels, labels, valid = self._labelled(window)
        if self.objectness is None:
            return Cut(pixels, labels, None)
        read = self.objectness.read(window)
        objectness = read.values[0].astype(np.float32) / 255
        objectness[~(valid & read.valid)] = np.nan
        return Cut(pixels, labels, objectness)

    def _labelled(self, window: Window) -> tuple[NDArray[np.generic], NDArray[np.uint8], NDArray[np.bool_]]:
        """Pixels, labels, and where the image has data, (h, w) bool."""
        pixels, mask = self.image.read(window), self.mask.read(window)
        labels = self.lookup[mask.values[0].astype(np.uint8)]
        labels[~(pixels.valid & mask.valid)] = IGNORE
        return pixels.values, labels, pixels.valid


class RandomCrops:
    """Crops at random places of random scenes, with flips: how a network is pretrained.

    A scene is drawn uniformly, then a position in it (ICSS, published code: the same, with both flips at
    probability 0.5). Scenes smaller than the crop are padded with unlabelled pixels. Crops may be cut at
    another size than the network trains on, and resized: see `scale` and `area`.

    Args:
        scenes: at least one; all with the same bands and dtype.
        size: side length of the crops in pixels.
        batch: crops in a step, on each worker.
        seed: of everything random.
        rank: of this worker; workers see different crops.
        flips: mirror along rows and along columns, each with probability 0.5.
        upside_down: whether rows are mirrored at all; a street has no top at its bottom.
        scale: crops are of scenes resized by a factor in this range (`scaled_window`).
        area: crops are shares, in this range, of a scene's area (`area_window`). Neither: scenes as they are.
    """

    def __init__(
        self,
        scenes: Sequence[LabelledScene],
        *,
        size: int,
        batch: int,
        seed: int = 0,
        rank: int = 0,
        flips: bool = True,
        upside_down: bool = True,
        scale: tuple[float, float] | None = None,
        area: tuple[float, float] | None = None,
    ) -> None:
        if not scenes:
            raise DatasetError("no labelled scene to take crops from")
        if size < 32 or batch < 1:
            raise InvalidParameterError(
                f"crops need a size of at least 32 and a batch of 1, not {size}, {batch}"
            )
        try:
            check_resizing(scale=scale, area=area)
        except ValueError as error:
            raise InvalidParameterError(str(error)) from error
        kinds = {(scene.image.bands, scene.image.dtype) for scene in scenes}
        if len({bands for bands, _ in kinds}) > 1:
            raise DatasetError(f"all scenes of a training need the same bands; found {sorted(kinds)}")
        # a batch is one tensor: scenes of mixed dtypes meet in float32
        self._dtype = np.dtype(kinds.pop()[1]) if len(kinds) == 1 else np.dtype(np.float32)
        self._scenes = scenes
        self._size, self._batch = size, batch
        self._seed, self._rank, self._flips = seed, rank, flips
        self._upside_down = upside_down
        self._scale, self._area = scale, area

    def __call__(self, step: int) -> Batch:
        """The batch of a step."""
        rng = np.random.default_rng([self._seed, self._rank, step])
        drawn = [self._crop(rng) for _ in range(self._batch)]
        batch = collate([cut.pixels for _, cut in drawn], [cut.labels for _, cut in drawn])
        return replace(
            batch,
            possible=_stacked([scene.possible for scene, _ in drawn]),
            objectness=_stacked([cut.objectness for _, cut in drawn]),
        )

    def _crop(self, rng: np.random.Generator) -> tuple[LabelledScene, Cut]:
        scene = self._scenes[int(rng.integers(len(self._scenes)))]
        height, width, size = scene.image.height, scene.image.width, self._size
        if self._area is not None:
            window = area_window(rng, height, width, size=size, area=self._area)
        else:
            window = scaled_window(rng, height, width, size=size, scale=self._scale)
        pixels, labels, objectness = scene.cut(window)
        pixels, labels = resize_pixels(pixels, self._size), resize_labels(labels, self._size)
        flip = draw_flip(rng) if self._flips else ()
        axes = tuple(axis - 2 for axis in flip if axis or self._upside_down)
        pixels = pixels.astype(self._dtype, copy=False)
        if objectness is not None:
            # a mean of ones may be a rounding error above one, which is no probability
            objectness = np.flip(resize_known(objectness, self._size).clip(0, 1), axes)
        return scene, Cut(np.flip(pixels, axes), np.flip(labels, axes), objectness)


def draw_flip(rng: np.random.Generator) -> tuple[int, ...]:
    """Spatial axes to mirror: 0 rows, 1 columns, each with probability 0.5."""
    return tuple(int(axis) for axis in np.flatnonzero(rng.random(2) < 0.5))


def collate(pixels: Sequence[NDArray[np.generic]], labels: Sequence[NDArray[np.uint8]]) -> Batch:
    """One batch of crops of the same size."""
    return Batch(
        pixels=torch.from_numpy(np.stack(pixels)), labels=torch.from_numpy(np.stack(labels).astype(np.int64))
    )


def _stacked(arrays: Sequence[NDArray[Any] | None]) -> Tensor | None:
    """A tensor of all; None unless every crop has one."""
    given = [array for array in arrays if array is not None]
    return torch.from_numpy(np.stack(given)) if len(given) == len(arrays) else None
