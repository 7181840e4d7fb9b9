"""A made-up image whose classes are colours, and a network that knows one of them."""

from __future__ import annotations

import copy
import functools

import numpy as np
import torch

from icss_core.data.labelled_scene import LabelledScene
from icss_core.data.random_crops import RandomCrops
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.networks import Architecture, Normalisation, Segmenter
from icss_core.raster.source import ArraySource
from icss_core.training import Fit, Optimisation, SegmentationLearner, cross_entropy_objective

OLD = LabelSpace(
    classes=(ClassInfo(name="background", colour=(0, 0, 0)), ClassInfo(name="road", colour=(90, 90, 90)))
)
BUILDING = ClassInfo(name="building", colour=(200, 0, 0))
COLOURS = np.array([[60, 120, 60], [120, 120, 120], [190, 90, 70]])
CPU = torch.device("cpu")


def picture(seed: int, size: int = 192) -> tuple[ArraySource, np.ndarray]:
    """Grey bars (1, road) and reddish blocks (2, building) on noisy green."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((size, size), np.uint8)
    for position in rng.integers(0, size - 12, 3):
        mask[position : position + 12] = 1
    for row, col in rng.integers(0, size - 30, (6, 2)):
        mask[row : row + 28, col : col + 28] = 2
    noise = rng.normal(0, 12, (3, size, size))
    values = np.clip(COLOURS[mask].transpose(2, 0, 1) + noise, 0, 255).astype(np.uint8)
    return ArraySource(values), mask


def pretrained() -> Segmenter:
    """A network that knows roads; buildings were background to it. Trained once; a copy for whoever asks."""
    return copy.deepcopy(_pretrained())


@functools.cache
def _pretrained() -> Segmenter:
    torch.manual_seed(0)
    network = Segmenter(
        Architecture(encoder="tu-test_resnet", n_classes=2), Normalisation(mean=(100.0,) * 3, std=(40.0,) * 3)
    )
    lookup = np.full(256, 255, np.uint8)
    lookup[:3] = [0, 1, 0]
    scenes = []
    for seed in range(4):
        source, mask = picture(seed)
        scenes.append(LabelledScene(image=source, mask=ArraySource(mask[None]), lookup=lookup))
    optimisation = Optimisation(lr=2e-3, iterations=60, schedule="cosine", precision="float32")
    crops = RandomCrops(scenes, size=64, batch=8, seed=0)
    Fit(SegmentationLearner(network, cross_entropy_objective, crops), optimisation).run()
    return network.eval()
