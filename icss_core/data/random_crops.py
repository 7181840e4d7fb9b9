"""Crops at random places of random scenes.

A batch depends only on seed, rank and iteration. So a run that resumes at iteration 700 sees the same crops
as one that was never interrupted, and a worker keeps no state but the number of the iteration.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from icss_core.data.batch import collate
from icss_core.data.crop_window import area_window, check_resizing, scaled_window
from icss_core.data.labelled_scene import Cut
from icss_core.data.resizing import resize_labels, resize_pixels, resize_skipping_nan
from icss_core.errors import DatasetError, InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.data.labelled_scene import LabelledScene


class RandomCrops:
    """Crops at random places of random scenes, with flips, as used for pretraining.

    A scene is drawn uniformly, then a position in it (as in the published code of ICSS, which also flips with
    probability 0.5). Scenes smaller than the crop are padded with unlabelled pixels. Crops may be cut at
    another size than the network trains on, and resized: see `scale` and `area`.

    Args:
        scenes: at least one; all with the same number of bands. A scene is opened when it is first drawn, so
            a scene that cannot be used raises only then. A batch of mixed dtypes is float32.
        size: side length of the crops in pixels.
        batch: crops in an iteration, on each worker.
        seed: decides everything random.
        rank: of this worker; workers see different crops.
        flips: mirror along rows and along columns, each with probability 0.5.
        upside_down: whether to mirror along rows too; not for street scenes, where up and down differ.
        scale: crops are of scenes resized by a factor in this range (`scaled_window`).
        area: crops cover a fraction of the scene's area in this range (`area_window`). Without `scale` and
            `area` scenes are not resized.
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
            raise DatasetError("no scene to take crops from")
        if size < 32 or batch < 1:
            raise InvalidParameterError(
                f"crops need a size of at least 32 and a batch of 1, not {size}, {batch}"
            )
        try:
            check_resizing(scale=scale, area=area)
        except ValueError as error:
            raise InvalidParameterError(str(error)) from error
        self._scenes = scenes
        self._bands = scenes[0].image.bands
        self._size, self._batch = size, batch
        self._seed, self._rank, self._flips = seed, rank, flips
        self._upside_down = upside_down
        self._scale, self._area = scale, area

    def __call__(self, iteration: int) -> Batch:
        """The batch of an iteration."""
        rng = np.random.default_rng([self._seed, self._rank, iteration])
        drawn = [self._crop(rng) for _ in range(self._batch)]
        # a batch is one tensor, so crops of mixed dtypes become float32
        dtypes = {cut.pixels.dtype for _, cut in drawn}
        dtype = dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float32)
        pixels = [cut.pixels.astype(dtype, copy=False) for _, cut in drawn]
        batch = collate(pixels, [cut.labels for _, cut in drawn])
        extras = _extras([scene for scene, _ in drawn], [cut for _, cut in drawn])
        return replace(batch, extras=extras, iteration=iteration)

    def _crop(self, rng: np.random.Generator) -> tuple[LabelledScene, Cut]:
        scene = self._scenes[int(rng.integers(len(self._scenes)))]
        height, width, size = scene.height, scene.width, self._size
        if self._area is not None:
            window = area_window(rng, height, width, size=size, area=self._area)
        else:
            window = scaled_window(rng, height, width, size=size, scale=self._scale)
        pixels, labels, maps = scene.cut(window)
        if len(pixels) != self._bands:
            raise DatasetError(
                f"all scenes of a training need the same bands; scene {self._scenes[0].name!r} has "
                f"{self._bands}, scene {scene.name!r} {len(pixels)}"
            )
        pixels, labels = resize_pixels(pixels, self._size), resize_labels(labels, self._size)
        flip = draw_flip(rng) if self._flips else ()
        axes = tuple(axis - 2 for axis in flip if axis or self._upside_down)
        # rounding may take the mean of ones slightly above one
        resized = {name: resize_skipping_nan(one, self._size).clip(0, 1) for name, one in maps.items()}
        maps = {name: np.flip(one, axes) for name, one in resized.items()}
        return scene, Cut(np.flip(pixels, axes), np.flip(labels, axes), maps)


def draw_flip(rng: np.random.Generator) -> tuple[int, ...]:
    """Spatial axes to mirror: 0 rows, 1 columns, each with probability 0.5."""
    return tuple(int(axis) for axis in np.flatnonzero(rng.random(2) < 0.5))


def _extras(scenes: Sequence[LabelledScene], cuts: Sequence[Cut]) -> dict[str, Tensor]:
    """What every crop has besides pixels and labels: its scene's maps, and the classes it may show."""
    names = set.intersection(*(set(cut.maps) for cut in cuts))
    extras = {name: torch.from_numpy(np.stack([cut.maps[name] for cut in cuts])) for name in sorted(names)}
    possible = [scene.possible for scene in scenes if scene.possible is not None]
    if len(possible) == len(scenes):
        extras["possible"] = torch.from_numpy(np.stack(possible))
    return extras
