"""The small training and the small map by which the scale model is checked, alone or as workers of Ray.

A Linknet with a resnet18 (12 million weights) learns from crops of made-up scenes, one thread a worker,
through the core's own loop; and maps scenes out of files into files. Labels and weights are random: the time
is the same.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import torch

from icss_core.clicks import ClickSet
from icss_core.inference import predict_raster, prepare_for_inference
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.methods import CropRule, TaskContext, build_objective, get_preset
from icss_core.networks import Architecture, Segmenter, identity
from icss_core.raster.reader import ArraySource
from icss_core.training import Fit, SegmentationLearner
from icss_core.updating.crops import CropBatches, CropSource, LabelledCrops
from icss_core.updating.tiles import working_area

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

CROP, BATCH, SIDE = 128, 2, 512
CLASSES = LabelSpace(
    classes=(
        ClassInfo(name="background", colour=(0, 0, 0)),
        ClassInfo(name="road", colour=(1, 1, 1)),
        ClassInfo(name="building", colour=(2, 2, 2)),
    )
)


def network() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(Architecture(encoder="resnet18", n_classes=3), identity(3))


def gradient_bytes() -> int:
    """Of the network."""
    return sum(4 * one.numel() for one in network().parameters())


class Training:
    """A training in this process, in one thread, that goes on from call to call.

    Args:
        distributed: wraps the module for data parallelism.
    """

    def __init__(self, distributed: Callable[[nn.Module], nn.Module] = lambda module: module) -> None:
        torch.set_num_threads(1)
        rng = np.random.default_rng(0)
        source = ArraySource(rng.integers(0, 256, (3, SIDE, SIDE), np.uint8), None)
        clicks = ClickSet(rng.integers(0, SIDE, 300), rng.integers(0, SIDE, 300), rng.integers(0, 3, 300))
        preset = get_preset("icss-paper/baseline", {"optimisation.iterations": 10**6})
        image = CropSource(source=source, area=working_area(SIDE, SIDE, clicks), labels=clicks)
        batches = CropBatches(image, [LabelledCrops(image, CropRule(size=CROP, batch=BATCH), seed=0)])
        objective = build_objective(preset, TaskContext(n_classes=3, n_old=2))
        learner = SegmentationLearner(network(), objective, batches)
        self._fit = Fit(learner, preset.optimisation, distributed=distributed)

    def run(self, iterations: int) -> list[tuple[float, float]]:
        """Seconds of each iteration, and of it waiting for its batch."""
        found: list[tuple[float, float]] = []
        self._fit.run(
            until=self._fit.iteration + iterations,
            on_iteration=lambda report: found.append((report.seconds, report.input_wait)),
        )
        return found


def write_scenes(folder: Path, number: int) -> list[Path]:
    """Tiled GeoTIFFs of noise."""
    rng = np.random.default_rng(0)
    paths = []
    for index in range(number):
        path = folder / f"scene-{index}.tif"
        form = {"driver": "GTiff", "height": SIDE, "width": SIDE, "count": 3, "dtype": "uint8", "tiled": True}
        place = {"crs": "EPSG:32640", "transform": rasterio.Affine(0.5, 0, 0, 0, -0.5, 0)}
        with rasterio.open(
            path, "w", compress="deflate", blockxsize=256, blockysize=256, **form, **place
        ) as out:
            out.write(rng.integers(0, 256, (3, SIDE, SIDE), np.uint8))
        paths.append(path)
    return paths


class Mapper:
    """A worker that maps scenes."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._network = prepare_for_inference(network())

    def map(self, path: Path) -> float:
        """Map a scene beside itself; the seconds it took."""
        started = time.perf_counter()
        predict_raster(self._network, path, path.with_suffix(".map.tif"), label_space=CLASSES)
        return time.perf_counter() - started
