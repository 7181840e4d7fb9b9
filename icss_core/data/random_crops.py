"""Crops at random places of random scenes.

The sampler is a pure function of (seed, rank, iteration): a run that resumes at iteration 700 sees what it
would have seen, and a worker needs no state but the number of the iteration.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from icss_core.data.batch import collate
from icss_core.data.crop_window import area_window, check_resizing, scaled_window
from icss_core.data.labelled_scene import Cut
from icss_core.data.resizing import resize_known, resize_labels, resize_pixels
from icss_core.errors import DatasetError, InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.data.labelled_scene import LabelledScene


class RandomCrops:
    """Crops at random places of random scenes, with flips: how a network is pretrained.

    A scene is drawn uniformly, then a position in it (ICSS, published code: the same, with both flips at
    probability 0.5). Scenes smaller than the crop are padded with unlabelled pixels. Crops may be cut at
    another size than the network trains on, and resized: see `scale` and `area`.

    Args:
        scenes: at least one; all with the same bands and dtype.
        size: side length of the crops in pixels.
        batch: crops in an iteration, on each worker.
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

    def __call__(self, iteration: int) -> Batch:
        """The batch of an iteration."""
        rng = np.random.default_rng([self._seed, self._rank, iteration])
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


def _stacked(arrays: Sequence[NDArray[Any] | None]) -> Tensor | None:
    """A tensor of all; None unless every crop has one."""
    given = [array for array in arrays if array is not None]
    return torch.from_numpy(np.stack(given)) if len(given) == len(arrays) else None
